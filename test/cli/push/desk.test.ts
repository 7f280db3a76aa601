/** A desk whose disk is full, and texts that are not what they are called. */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { test } from "node:test";
import { answerRequest, hashOf, learn, type Desk, type Judgement } from "../../../cli/push/desk.ts";
import { readRequest, type VersionRecord } from "../../../cli/push/messages.ts";
import { startVoter } from "../../../cli/push/voter.ts";

const base64 = (text: string): string => Buffer.from(text).toString("base64");
const version = (number: number, text: string): VersionRecord => ({
  number,
  hash: hashOf(base64(text)),
  previous: "",
  at_ms: 0,
  by: "me",
  comment: "",
});
const ballot = { round: 1, id: "0123456789abcdef" };
const full = (): void => writeFileSync("/dev/full", "x");

function deskWith(
  change: Partial<Desk["store"]> = {},
  judgement: Judgement = { reasons: [], warnings: [] },
): Desk {
  const texts = new Map<string, string>();
  return {
    voter: startVoter({ current: version(1, "one"), promised: null, accepted: null }),
    node: "n",
    productVersion: "0",
    store: {
      has: (hash) => texts.has(hash),
      read: (hash) => texts.get(hash),
      keep: (hash, text) => void texts.set(hash, text),
      save: () => undefined,
      history: () => [],
      ...change,
    },
    now_ms: () => 0,
    check: async () => judgement,
    running: () => ({ number: 1, hash: version(1, "one").hash, problem: "" }),
    peers: () => [],
    health: async () => null,
    onCommit: () => undefined,
    onBehind: () => undefined,
  };
}
const stage = {
  ask: "stage",
  slot: 2,
  ballot,
  text: base64("two"),
  file: "f",
  check: true,
  on_restart: false,
} as const;

test("what the disk can't take is no promise and no vote, and is told", async () => {
  const desk = deskWith({ save: full });
  const before = desk.voter;
  const answer = await answerRequest(desk, { ask: "prepare", slot: 2, ballot, by: "me" });
  assert.equal(answer.kind, "failed");
  assert.match(JSON.stringify(answer), /ENOSPC/);
  assert.equal(desk.voter, before);
  const commit = await answerRequest(desk, { ask: "commit", record: version(1, "one") });
  assert.equal(commit.kind, "committed", "what is so already needs no disk");
});

test("a text that can't be kept is not staged, and one that can't run isn't kept", async () => {
  assert.equal((await answerRequest(deskWith({ keep: full }), stage)).kind, "failed");
  const picky = deskWith({}, { reasons: ["no such certificate"], warnings: [] });
  assert.deepEqual(await answerRequest(picky, stage), { kind: "bad", reasons: ["no such certificate"] });
  assert.equal(picky.store.has(hashOf(stage.text)), false);
  const accept = { ask: "accept", slot: 2, ballot, record: version(2, "two") } as const;
  assert.equal((await answerRequest(picky, accept)).kind, "missing");
});

test("a version is learnt with its own text only", () => {
  const desk = deskWith();
  assert.throws(() => learn(desk, version(2, "two"), base64("another")), { code: "TEXT_DIFFERS" });
  assert.equal(desk.voter.durable.current.number, 1);
  learn(desk, version(2, "two"), base64("two"));
  assert.equal(desk.voter.durable.current.number, 2);
});

test("a line that is no question is none, however it looks", () => {
  const good = JSON.stringify({ ask: "prepare", slot: 2, ballot, by: "me" });
  assert.ok(readRequest(good) !== undefined);
  const bad = ["", "null", "[]", "{", '{"ask":"sing"}', good.replace("2", "-1"), good.replace("2", '"2"')];
  const more = [
    good.replace("0123", "xyz!"),
    good.replace('"me"', '"me","more":1'),
    good.replace("1", "1e99"),
  ];
  for (const line of [...bad, ...more]) assert.equal(readRequest(line), undefined, line);
});
