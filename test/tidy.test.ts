/** Rules of the code base that no tool knows: who imports whom, whether documents speak of what exists. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, globSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { describe, test } from "node:test";

const ROOT = join(import.meta.dirname, "..");

/** What each folder may import, beside itself: folders, or single files of a folder. */
const STATUS_FOR_ALL = ["status/tables.ts", "status/publish.ts", "status/log.ts"];
const DAEMON = ["conf", "net", ...STATUS_FOR_ALL];
const ALL = ["conf", "net", "scheduler", "failover", "dlba-server", "status", "cli", "lab"];
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  conf: [],
  net: ["conf"],
  scheduler: DAEMON,
  failover: DAEMON,
  "dlba-server": DAEMON,
  status: DAEMON,
  cli: ALL,
  lab: ALL,
  packaging: ["conf", "net", "cli"],
  test: [...ALL, "packaging", "setup.mjs"],
};
/** The only place with foreign calls. */
const FFI = "net";

/** Files under version control or new, without what git ignores. */
const files = execFileSync("git", ["ls-files", "--cached", "--others", "--exclude-standard"], { cwd: ROOT })
  .toString()
  .trim()
  .split("\n")
  .filter((file) => existsSync(join(ROOT, file)));
const read = (file: string): string => readFileSync(join(ROOT, file), "utf8");
const sources = files.filter((file) => file.endsWith(".ts"));

/** Module names that a source imports or exports from, statically or not. */
function importsOf(file: string): string[] {
  const pattern = /(?:\bfrom|\bimport)\s*\(?\s*"([^"\n]+)"/g;
  return [...read(file).matchAll(pattern)].map(([, name = ""]) => name);
}

function folderOf(path: string): string {
  return path.split("/")[0] ?? "";
}

describe("imports", () => {
  for (const [folder, allowed] of Object.entries(MAY_IMPORT)) {
    test(`${folder} imports only what it may`, () => {
      const wrong = sources
        .filter((file) => folderOf(file) === folder)
        .flatMap((file) =>
          importsOf(file)
            .filter((name) => name.startsWith("."))
            .map((name) => normalize(join(dirname(file), name)))
            .filter((path) => ![folder, ...allowed].some((one) => one === folderOf(path) || one === path))
            .map((path) => `${file} imports ${path}`),
        );
      assert.deepEqual(wrong, []);
    });
  }

  test("every source lies in a folder with rules", () => {
    const elsewhere = sources.filter((file) => !(folderOf(file) in MAY_IMPORT));
    assert.deepEqual(elsewhere, []);
  });

  test("what serves clients looks up no names: it goes on without a name service", () => {
    const serving = new Set(["conf", "net", "scheduler", "failover", "dlba-server", "status"]);
    const wrong = sources
      .filter((file) => serving.has(folderOf(file)))
      .filter((file) => importsOf(file).some((name) => /^(node:)?dns(\/promises)?$/.test(name)));
    assert.deepEqual(wrong, []);
  });

  test("foreign calls stand in net alone", () => {
    const wrong = sources.filter((file) => importsOf(file).includes("koffi") && folderOf(file) !== FFI);
    assert.deepEqual(wrong, []);
  });
});

describe("documents", () => {
  const documents = files.filter((file) => file.endsWith(".md"));

  test("every folder has its README", () => {
    const missing = Object.keys(MAY_IMPORT).filter((folder) => !existsSync(join(ROOT, folder, "README.md")));
    assert.deepEqual(missing, []);
  });

  test("links lead to files that exist", () => {
    const dead = documents.flatMap((file) =>
      [...read(file).matchAll(/\]\(([^)\s#]+)(?:#[^)]*)?\)/g)]
        .map(([, target = ""]) => target)
        .filter((target) => !/^[a-z]+:/.test(target))
        .filter((target) => !existsSync(join(ROOT, dirname(file), target)))
        .map((target) => `${file}: ${target}`),
    );
    assert.deepEqual(dead, []);
  });

  test("paths in code spans exist, from the document's folder or from the top", () => {
    const dead = documents
      .filter((file) => file !== "CHANGELOG.md")
      .flatMap((file) =>
        [...read(file).matchAll(/`([\w.-]+(?:\/[\w.-]+)*\.(?:ts|mjs|c|h|o|json))`/g)]
          .map(([, path = ""]) => path)
          .filter((path) => ![dirname(file), "."].some((base) => existsSync(join(ROOT, base, path))))
          .filter(
            (path) => globSync(`*/**/${path}`, { cwd: ROOT, exclude: ["node_modules/**"] }).length === 0,
          )
          .map((path) => `${file}: ${path}`),
      );
    assert.deepEqual(dead, []);
  });

  test("npm scripts that documents name exist", () => {
    const { scripts }: { scripts: Record<string, string> } = JSON.parse(read("package.json"));
    const wrong = documents.flatMap((file) =>
      [...read(file).matchAll(/npm run ([a-z][\w:-]*)/g)]
        .map(([, script = ""]) => script)
        .filter((script) => !(script in scripts))
        .map((script) => `${file}: ${script}`),
    );
    assert.deepEqual(wrong, []);
  });

  test("npm scripts run entries that exist", () => {
    const { scripts }: { scripts: Record<string, string> } = JSON.parse(read("package.json"));
    const entries = Object.values(scripts).flatMap((script) => script.match(/[\w/.-]+\.(?:ts|mjs)\b/g) ?? []);
    assert.deepEqual(
      entries.filter((entry) => !existsSync(join(ROOT, entry))),
      [],
    );
  });
});

describe("sources", () => {
  test("names are kebab-case, and no drawer for everything", () => {
    const wrong = sources.filter(
      (file) =>
        !/^[a-z0-9/.-]+$/.test(file) ||
        /(?:^|[/-])(?:utils?|helpers?|common|misc|manager)(?:[/.-]|$)/.test(file),
    );
    assert.deepEqual(wrong, []);
  });

  test("nothing is left to do, skipped or silenced without a reason", () => {
    const marks = [
      // Classes of one letter, so that this file does not find itself.
      /\bTO[D]O\b|\bFIXM[E]\b|\bXX[X]\b/,
      /@ts-(?:ignor[e]|nochec[k]|expect-erro[r])/,
      /\b(?:test|it|describe|suite)\.(?:ski[p]|onl[y]|tod[o])\b|\bski[p]: true\b/,
    ];
    const wrong = sources.flatMap((file) =>
      marks.flatMap((mark) => mark.exec(read(file))?.[0] ?? []).map((found) => `${file}: ${found}`),
    );
    assert.deepEqual(wrong, []);
  });

  test("a lint rule is disabled for one line, with a reason", () => {
    const wrong = sources.flatMap((file) =>
      read(file)
        .split("\n")
        .filter((line) => /(?:oxlint|eslint)-disable/.test(line) && !file.endsWith("tidy.test.ts"))
        .filter((line) => !/disable-(?:next-)?line [\w/@-]+(?:, [\w/@-]+)* -- \S/.test(line))
        .map((line) => `${file}: ${line.trim()}`),
    );
    assert.deepEqual(wrong, []);
  });

  test("what needs the kernel says so in its name: namespaces are made in *.root.test.ts or what they use", () => {
    const wrong = sources
      .filter((file) => file.endsWith(".test.ts") && !file.endsWith(".root.test.ts"))
      .filter((file) => /"netns", "add"|labUp\(/.test(read(file)) && !file.endsWith("tidy.test.ts"));
    assert.deepEqual(wrong, []);
  });
});
