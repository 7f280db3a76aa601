/** The normal form of paths: it has no dots, empty segments or escapes left that rules could be passed by, and stays as it is. */
import assert from "node:assert/strict";
import { comparedPath, normalPath } from "../../../dlba-server/http/path.ts";
import { below, oneOf, type Random, type Target } from "../target.ts";

const PARTS = [
  "a",
  "b",
  ".",
  "..",
  "",
  "%2e",
  "%2E%2e",
  "%2f",
  "%5c",
  "\\",
  ";x",
  "..;",
  "%41",
  "%c3%a4",
  "~",
  "...",
];

const make = (random: Random): string =>
  Array.from({ length: 1 + below(random, 5) }, () => `/${oneOf(random, PARTS)}`).join("");

/** Request targets are visible ASCII, and a path ends where the query begins. */
const asPath = (input: string): string => `/${input.replaceAll(/[^!-~]|[?#]/g, "")}`;

function check(input: string): void {
  const path = asPath(input);
  const normal = normalPath(path);
  assert.equal(comparedPath(path), normal?.decoded);
  if (normal === undefined) return;
  const { decoded, spelling } = normal;
  assert.ok(decoded.startsWith("/"), decoded);
  assert.doesNotMatch(decoded, /\/\/|\/\.{1,2}(?:\/|$)|\0/);
  assert.equal(spelling.length, decoded.length);
  const again = normalPath(spelling.join(""));
  assert.equal(again?.decoded, decoded, "what it is spelled as is the same path");
  const url = new URL(`http://h${path}`).pathname;
  const isPlain = !/%|\\|\/\/|;/.test(path);
  if (isPlain) assert.equal(decoded, decodeURIComponent(url), "as browsers read it");
}

export const paths: Target = {
  name: "paths",
  batch: 3000,
  seeds: [
    "/a/../b",
    "/a//b",
    "/%2e%2e/a",
    "/a/./b/",
    "/a%2fb",
    "/..;/a",
    "/a\\..\\b",
    "/%41",
    "/a/..",
    "/%zz",
    "/a%00",
  ],
  words: ["/", "..", ".", "%2e", "%2f", "%5c", "\\", ";", "//", "%25", "%00", "%"],
  make,
  check,
};
