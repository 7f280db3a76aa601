/** What `dlba reload` takes beside pushed versions, also when a push comes in between. */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { fileReload } from "../../../cli/push/file.ts";
import { fileVersion } from "../../../cli/push/file-version.ts";
import type { VersionRecord } from "../../../cli/push/messages.ts";
import { textGeneration, type Generation } from "../../../cli/generation.ts";

const GOOD = readFileSync(new URL("../../conf/good.yaml", import.meta.url), "utf8");

/** A node that takes what it is told, in turn; something may happen before it is a reload's turn. */
function reloading(t: TestContext, current: VersionRecord | undefined, meanwhile?: (node: FakeNode) => void) {
  const dir = mkdtempSync(join(tmpdir(), "dlba-file-"));
  t.after(() => rmSync(dir, { recursive: true }));
  const [configFile, keyFile] = [join(dir, "dlba.yaml"), join(dir, "array.key")];
  writeFileSync(keyFile, Buffer.alloc(32, 1).toString("base64"));
  const text = GOOD.replace(/key_file: .*/, `key_file: ${keyFile}`);
  writeFileSync(configFile, text);
  const node: FakeNode = {
    text,
    configFile,
    current: current ?? fileVersion(text),
    runs: textGeneration(text, configFile),
    fileHash: "",
  };
  const reload = fileReload({
    configFile,
    store: { fileHash: () => node.fileHash },
    running: {
      generation: () => node.runs,
      take: async (read) => {
        await Promise.resolve();
        meanwhile?.(node);
        node.runs = read();
        return ["taken"];
      },
    },
    side: { current: () => node.current, noteFile: (record) => (node.current = record) },
  });
  return { node, reload };
}

interface FakeNode {
  readonly text: string;
  readonly configFile: string;
  current: VersionRecord;
  runs: Generation;
  fileHash: string;
}

const other = (text: string): string => `# pushed\n${text}`;
const pushed = (text: string): VersionRecord => ({ ...fileVersion(text), number: 3, by: "anna" });

test("before anything was pushed the file is taken, and is the version then", async (t) => {
  const { node, reload } = reloading(t, undefined);
  const edited = `# edited\n${node.text}`;
  writeFileSync(node.configFile, edited);
  assert.deepEqual(await reload(), ["taken"]);
  assert.equal(node.runs.text, edited);
  assert.deepEqual(node.current, fileVersion(edited));
});

test("a version that was pushed is taken with its files, and an older file is only told of", async (t) => {
  const { node, reload } = reloading(t, pushed("other"));
  node.fileHash = fileVersion(node.text).hash;
  const [done, note] = await reload();
  assert.equal(done, "taken");
  assert.match(note!, /^version 3, pushed by anna, counts; .*dlba\.yaml is not read$/);
});

test("a file that holds what was pushed is no matter, and one that was edited since is refused", async (t) => {
  const { node, reload } = reloading(t, pushed("x"));
  await assert.rejects(reload(), { code: "FILE_EDITED" });
  node.current = pushed(node.text);
  assert.deepEqual(await reload(), ["taken"]);
});

test("a push that comes before a reload's turn is not undone by it", async (t) => {
  const { node, reload } = reloading(t, undefined, (node) => {
    node.current = pushed(other(node.text));
    node.runs = textGeneration(other(node.text), "versions/3");
    node.fileHash = fileVersion(node.text).hash;
  });
  await reload();
  assert.equal(node.runs.text, other(node.text));
  assert.equal(node.current.number, 3);
});
