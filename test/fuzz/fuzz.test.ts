/** The fuzzer finds nothing in a short search, finds each fault that is planted, and makes what it finds short. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { asTest, failureOf, searchOn, startSearch } from "./fuzzer.ts";
import { shrink } from "./shrink.ts";
import { TARGETS, targetCalled } from "./targets.ts";

const ROOT = join(import.meta.dirname, "../..");

describe("a short search finds nothing", () => {
  for (const target of TARGETS) {
    for (const seed of [1, 2]) {
      it(`in ${target.name}, seed ${seed}`, () => {
        const search = startSearch(target, seed);
        // The seeds themselves, and one batch made of them.
        for (let batches = 0; batches < 2; batches++) {
          const finding = searchOn(search, undefined);
          assert.equal(finding, undefined, finding && `${finding.reason}\n${asTest(finding)}`);
        }
      });
    }
  }
});

/** What the fuzzer has found, made short; each was mended. */
const found: readonly (readonly [target: string, input: string, what: string])[] = [
  [
    "session",
    'POST / HTTP/1.1\r\nHost:a\r\nTransfer-Encoding:chunked\r\n\r\na;a"',
    "a quote in a chunk's extension went on, behind which some readers pass over line ends",
  ],
  ["cookies", "DLBA;\u00a0DLBA", "a byte above 127 was taken for white space"],
  ["rules", "r\u00f1/", "an encoded slash was a way past a regular expression that rewrites"],
];

describe("what was found once is treated as it must be", () => {
  for (const [target, input, what] of found) {
    it(`${target}: ${what}`, () => assert.equal(failureOf(targetCalled(target), input), undefined));
  }
});

describe("what was found is short", () => {
  it("everything that the fault does not need is left out or made plain", () => {
    const smallest = shrink("abc def X ghi \r\n Z", (input) => input.includes("X") && input.endsWith("Z"));
    assert.equal(smallest, "XZ");
    assert.equal(
      shrink("12345", (input) => input.length >= 3),
      "aaa",
    );
  });

  it("and printed as a line for a table of tests", () => {
    const finding = { target: "hosts", input: 'a"\r\n\0\xff\u0101', reason: "" };
    assert.equal(asTest(finding), '  ["hosts", "a\\"\\r\\n\\u0000\\u00ff\\u0101"],');
  });
});

interface Fault {
  readonly file: string;
  readonly before: string;
  readonly after: string;
}
const faults: [string, string, Fault][] = [
  [
    "request-head",
    "a field without name",
    {
      file: "dlba-server/http/head.ts",
      before: "if (bytes[at] !== COLON || at === fieldStart) return 400;",
      after: "if (bytes[at] !== COLON) return 400;",
    },
  ],
  [
    "response-head",
    "control characters in a reason that comes in pieces",
    {
      file: "dlba-server/http/head-progress.ts",
      before: "return VALUE[byte] === 1 ? REASON : BAD;",
      after: "return REASON;",
    },
  ],
  [
    "chunks",
    "control characters in trailers",
    {
      file: "dlba-server/http/chunked.ts",
      before: "return VALUE[byte] === 1 ? CHUNK.trailerValue : CHUNK.bad;",
      after: "return CHUNK.trailerValue;",
    },
  ],
  [
    "session",
    "two lengths",
    {
      file: "dlba-server/http/request.ts",
      before: "return request.length < 0 || seen.lengths++ > 0 ? 400 : 0;",
      after: "return request.length < 0 ? 400 : 0;",
    },
  ],
  [
    "session",
    "bytes of a body that come with the last piece of a head are lost",
    {
      file: "dlba-server/session/server.ts",
      before: "takeWhole(s, env, port, verdict, after < end);\n  return after;",
      after: "takeWhole(s, env, port, verdict, after < end);\n  return end;",
    },
  ],
  [
    "proxy-header",
    "addresses that are not there",
    {
      file: "dlba-server/proxy-header.ts",
      before: 'if (family === undefined || rest < ADDRESSES_BYTES[family]) return "bad";',
      after: 'if (family === undefined) return "bad";',
    },
  ],
  [
    "cookies",
    "white space behind the name of the cookie",
    {
      file: "dlba-server/http/cookie.ts",
      before: "while (at < end && isBlank(value[at])) at++;\n  return at",
      after: "return at",
    },
  ],
  [
    "http2",
    "line ends in values",
    {
      file: "dlba-server/http2/hpack-fields.ts",
      before: "const isGood = isValue(bytes, valueStart, valueEnd) && isGoodRegular(",
      after: "const isGood = isGoodRegular(",
    },
  ],
  [
    "paths",
    "NUL in paths",
    {
      file: "dlba-server/http/path.ts",
      before: ' || digits === "00"',
      after: "",
    },
  ],
  [
    "rules",
    "escapes that rules don't see through",
    {
      file: "dlba-server/http/path.ts",
      before: "const UNUSUAL = /%|",
      after: "const UNUSUAL = /%2f|",
    },
  ],
  [
    "hosts",
    "ports of five digits",
    { file: "dlba-server/http/host.ts", before: "return port <= 65_535;", after: "return true;" },
  ],
];

/** A copy of all that the fuzzer needs, with the fault in it. */
function withFault({ file, before, after }: Fault): string {
  const copy = mkdtempSync(join(tmpdir(), "dlba-fuzz-"));
  for (const part of [
    "conf",
    "net",
    "status",
    "dlba-server",
    "test/dlba-server",
    "test/fuzz",
    "package.json",
  ])
    cpSync(join(ROOT, part), join(copy, part), { recursive: true });
  symlinkSync(join(ROOT, "node_modules"), join(copy, "node_modules"));
  const source = readFileSync(join(ROOT, file), "utf8");
  assert.ok(source.includes(before), `${file} has changed: plant the fault anew`);
  writeFileSync(join(copy, file), source.replace(before, after));
  return copy;
}

describe("a planted fault is found", () => {
  for (const [target, name, fault] of faults) {
    it(`${target}: ${name}`, () => {
      const copy = withFault(fault);
      try {
        const args = ["test/fuzz/main.ts", "--target", target, "--seed", "1", "--seconds", "150", "--blind"];
        const run = spawnSync(process.execPath, args, { cwd: copy, encoding: "utf8" });
        assert.equal(run.status, 1, run.stdout + run.stderr);
        assert.match(run.stdout, /1 findings:/);
        const [, input] = /1 findings:\n {2}\["[a-z0-9-]+", (".*")\],/.exec(run.stdout)!;
        const text = JSON.parse(input!) as string;
        assert.equal(
          failureOf(targetCalled(target), text),
          undefined,
          "without the fault there is nothing wrong",
        );
        assert.ok(text.length < 150, `made short: ${input}`);
      } finally {
        rmSync(copy, { recursive: true });
      }
    });
  }
});
