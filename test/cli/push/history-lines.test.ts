import assert from "node:assert/strict";
import { test } from "node:test";
import { historyLines, nodeLines } from "../../../cli/push/history-lines.ts";
import type { Peer, StateAnswer, VersionRecord } from "../../../cli/push/messages.ts";

const version = (number: number, comment: string): VersionRecord => ({
  number,
  hash: String(number).repeat(64),
  previous: "",
  at_ms: Date.UTC(2026, 0, 2),
  by: "anna@box",
  comment,
});
const peer = (number: number): Peer => ({ number, name: `node${number}`, address: "192.0.2.1", port: 1 });
const state = (change: Partial<StateAnswer>): StateAnswer => ({
  kind: "state",
  node: "",
  current: version(2, ""),
  accepted: null,
  running: { number: 2, hash: version(2, "").hash },
  problem: "",
  peers: [],
  version: "0",
  ...change,
});

test("versions and nodes stand in two tables: who runs what, who can't, who is away, who is in doubt", () => {
  const ballot = { round: 1, id: "0".repeat(16) };
  const states = [
    { peer: peer(1), state: state({}) },
    {
      peer: peer(2),
      state: state({ running: { number: 1, hash: version(1, "").hash }, problem: "no such certificate" }),
    },
    { peer: peer(3), state: state({ accepted: { ballot, record: version(3, "") } }) },
  ];
  const nodes = nodeLines([1, 2, 3, 4].map(peer), {
    states,
    away: [{ node: "node4", text: "can't be asked" }],
  });
  const text = historyLines([version(2, "more web servers"), version(1, ""), version(0, "")], nodes);
  assert.equal(
    text,
    [
      "Version  Pushed                    Hash          By        Comment",
      "2        2026-01-02T00:00:00.000Z  222222222222  anna@box  more web servers",
      "1        2026-01-02T00:00:00.000Z  111111111111  anna@box",
      "0        -                         000000000000  -         the configuration file of before",
      "",
      "Node   In force  Hash          Running  Problem",
      "node1  2         222222222222  2",
      "node2  2         222222222222  1        no such certificate",
      "node3  2         222222222222  2        has voted for version 3, which is not decided",
      "node4  -         -             -        can't be asked",
      "",
    ].join("\n"),
  );
});

test("before anything was pushed it says so", () => {
  assert.match(historyLines([], []), /^nothing was ever pushed: each node runs its configuration file\n/);
});
