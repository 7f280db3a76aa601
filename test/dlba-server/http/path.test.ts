import assert from "node:assert/strict";
import { describe, it } from "node:test";
import * as fc from "fast-check";
import { comparedPath, normalPath } from "../../../dlba-server/http/path.ts";

describe("spellings of one path are compared as one", () => {
  const rows: [path: string, decoded: string, spelled?: string][] = [
    ["/", "/"],
    ["/a/b.c", "/a/b.c"],
    ["/%61%2Db", "/a-b", "/a-b"],
    ["/a%2fb", "/a/b", "/a%2Fb"],
    ["/%2Fadmin", "/admin", "/admin"],
    ["//admin", "/admin", "/admin"],
    ["///a////b//", "/a/b/", "/a/b/"],
    ["/x/../admin", "/admin", "/admin"],
    ["/%2e%2E/admin", "/admin", "/admin"],
    ["/./admin/.", "/admin/", "/admin/"],
    ["/a/b/..", "/a/", "/a/"],
    ["/../..", "/", "/"],
    ["/..", "/", "/"],
    ["/.", "/", "/"],
    ["/...", "/..."],
    ["/.well-known/x", "/.well-known/x"],
    ["/a%20b%c3%a9", "/a b\u00c3\u00a9", "/a%20b%C3%A9"],
    ["/a%3Fb%23", "/a?b#", "/a%3Fb%23"],
    ["/a%252e%252e/b", "/a%2e%2e/b", "/a%252e%252e/b"],
    ["/a;v=1/b", "/a;v=1/b"],
    ["/a\\b", "/a\\b", "/a\\b"],
    ["/%40scope%2fname", "/@scope/name", "/%40scope%2Fname"],
  ];
  for (const [path, decoded, spelled = path] of rows) {
    it(path, () => {
      const normal = normalPath(path);
      assert.equal(normal?.decoded, decoded);
      assert.equal(normal?.spelling.join(""), spelled);
      assert.equal(normal?.spelling.length, decoded.length);
      assert.equal(comparedPath(path), decoded);
    });
  }
});

describe("what web servers read in different ways has no form", () => {
  const rows: [path: string, why: string][] = [
    ["/a%", "a broken escape"],
    ["/a%2", "a broken escape"],
    ["/a%zz", "a broken escape"],
    ["/%u002e", "a broken escape"],
    ["/a%00b", "NUL"],
    ["/x%2f..%2fadmin", "segments that are there only when %2F is a slash"],
    ["/x/..%2fadmin", "the same"],
    ["/x%2f../admin", "the same"],
    ["/a%2f.%2fb", "the same"],
    ["/a//../b", "is it the empty segment or /a that goes?"],
    ["/a//b/../../c", "the same"],
    ["/a%2f/../b", "the same"],
    ["/x/..;/admin", "a dot segment with parameters"],
    ["/x/..;a=b/admin", "the same"],
    ["/x/.;/admin", "the same"],
    ["/x/%2e%2e;/admin", "the same"],
    ["/x\\..\\admin", "a backslash for a slash"],
    ["/x/..\\admin", "the same"],
    ["/x%5c..%5cadmin", "the same"],
  ];
  for (const [path, why] of rows) {
    it(`${path}: ${why}`, () => {
      assert.equal(normalPath(path), undefined);
      assert.equal(comparedPath(path), undefined);
    });
  }
});

const PIECES = ["/", "/", ".", "..", "a", "%61", "%2e", "%2F", "//", "%5c", ";", "\\", "%", "%3f", "b%C3"];
const piece = fc.constantFrom(...PIECES);
const path = fc.array(piece, { maxLength: 12 }).map((pieces) => `/${pieces.join("")}`);

it("has no segments that mean something else, whatever it is made of", () => {
  fc.assert(
    fc.property(path, (text) => {
      const decoded = comparedPath(text);
      if (decoded === undefined) return;
      assert.match(decoded, /^\//);
      assert.doesNotMatch(decoded, /\/\/|\/\.\.?(\/|$)/);
    }),
    { numRuns: 5000 },
  );
});

it("is what its own spelling reads as", () => {
  fc.assert(
    fc.property(path, (text) => {
      const normal = normalPath(text);
      if (normal === undefined) return;
      const again = normalPath(normal.spelling.join(""));
      assert.deepEqual(again, normal);
    }),
    { numRuns: 5000 },
  );
});

it("is the same however the characters are encoded", () => {
  const plain = fc
    .array(fc.constantFrom("a", "-", "~", "(", "@", "+", "/x", "/.y", ":"), { minLength: 1, maxLength: 8 })
    .map((parts) => `/${parts.join("")}`);
  fc.assert(
    fc.property(plain, fc.infiniteStream(fc.boolean()), (text, isEncoded) => {
      const spelled = Array.from(text, (char, index) => {
        const isKept = index === 0 || char === "/" || !isEncoded.next().value;
        return isKept ? char : `%${char.charCodeAt(0).toString(16)}`;
      }).join("");
      assert.equal(comparedPath(spelled), comparedPath(text));
    }),
  );
});
