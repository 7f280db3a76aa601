import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { answerKey } from "../../../cli/key/desk.ts";
import { orderLine } from "../../../cli/key/orders.ts";
import type { RunningNode } from "../../../cli/running-node.ts";
import { arrayKeyOf, keyId, parseArrayKey } from "../../../conf/keys.ts";
import { createLogger } from "../../../status/log.ts";

const root = mkdtempSync(join(tmpdir(), "dlba-desk-"));
after(() => rmSync(root, { recursive: true }));
const [OLD, NEW] = [Buffer.alloc(32, 1), Buffer.alloc(32, 2)];
const prepare = orderLine({ kind: "prepare", from: keyId(OLD), key: NEW });
const log = createLogger({}, "silent");

/** A node whose processes take what they are told, or some of which don't. */
function nodeWith(lagging: string[] = []) {
  const path = join(mkdtempSync(join(root, "node-")), "array.key");
  const text = `${OLD.toString("base64")}\n`;
  writeFileSync(path, text, { mode: 0o640 });
  const taken: string[] = [];
  let inUse = text;
  const takeKey: RunningNode["takeKey"] = async (change) => {
    inUse = change(path, inUse);
    assert.equal(readFileSync(path, "latin1"), inUse, "the disk has it first");
    taken.push(inUse);
    return { text: inUse, lagging };
  };
  const running = { takeKey } as RunningNode;
  return { path, taken, ask: (line: string) => answerKey(line, running, log) };
}

describe("a node that is told about the array key", () => {
  test("writes it down, tells its processes, and answers; the file keeps its mode", async () => {
    const { path, taken, ask } = nodeWith();
    const ids = {
      current: keyId(OLD),
      next: null,
      previous: null,
      seed: keyId(arrayKeyOf(OLD).seed),
      lagging: [],
    };
    assert.deepEqual(await ask("key state"), ids);
    assert.deepEqual(await ask(prepare), { ...ids, next: keyId(NEW) });
    assert.deepEqual(await ask(orderLine({ kind: "use", id: keyId(NEW) })), {
      ...ids,
      current: keyId(NEW),
      previous: keyId(OLD),
    });
    assert.deepEqual(await ask(orderLine({ kind: "forget", id: keyId(NEW) })), {
      ...ids,
      current: keyId(NEW),
    });
    const held = parseArrayKey(readFileSync(path, "latin1"), path);
    assert.deepEqual(held, { ...arrayKeyOf(OLD), current: NEW });
    assert.equal(statSync(path).mode & 0o7777, 0o640);
    assert.equal(taken.at(-1), readFileSync(path, "latin1"));
  });

  test("says which processes have not taken it, as often as it is asked", async () => {
    const { ask } = nodeWith(["scheduler"]);
    for (const line of [prepare, "key state", prepare]) {
      const answer = await ask(line);
      assert.ok(!("refused" in answer));
      assert.deepEqual([answer.next, answer.lagging], [keyId(NEW), ["scheduler"]]);
    }
  });

  test("changes nothing when an order does not fit, or the file is not what runs", async () => {
    const { path, ask, taken } = nodeWith();
    const before = readFileSync(path, "latin1");
    const answer = await ask(orderLine({ kind: "use", id: keyId(NEW) }));
    assert.match("refused" in answer ? answer.refused : "", /it does not know key/);
    await assert.rejects(ask("key nonsense"), { code: "UNKNOWN_COMMAND" });
    assert.equal(readFileSync(path, "latin1"), before);
    writeFileSync(path, `${NEW.toString("base64")}\n`);
    const other = await ask(prepare);
    assert.match("refused" in other ? other.refused : "", /holds something else than what runs/);
    assert.deepEqual(taken, []);
  });

  test("changes nothing when the disk does not take it", async () => {
    const { path, ask, taken } = nodeWith();
    const before = readFileSync(path, "latin1");
    // What is written aside can't be: a directory stands in its way, as a full disk would.
    const directory = join(path, "..");
    mkdirSync(join(directory, `.array.key.new-${process.pid}`));
    const answer = await ask(prepare);
    assert.match("refused" in answer ? answer.refused : "", /can't be written/);
    assert.equal(readFileSync(path, "latin1"), before);
    assert.deepEqual(taken, []);
  });
});
