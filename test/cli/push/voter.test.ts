/** A node's votes, one request after the other: what no storm is sure to hit. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Answer, Ballot, VersionRecord } from "../../../cli/push/messages.ts";
import { propose } from "../../../cli/push/proposer.ts";
import { isInDoubt, startVoter, vote, type Ballotwork, type Voter } from "../../../cli/push/voter.ts";
import { PUSH_LEASE_MS } from "../../../conf/limits.ts";

const version = (number: number, comment = ""): VersionRecord => ({
  number,
  hash: String(number).repeat(64).slice(0, 64),
  previous: "",
  at_ms: 1,
  by: "me",
  comment,
});
const bid = (round: number, id: string): Ballot => ({ round, id: id.repeat(16) });
const START = startVoter({ current: version(4), promised: null, accepted: null });

function after(
  voter: Voter,
  requests: readonly Ballotwork[],
  now_ms = 0,
): { voter: Voter; kinds: Answer["kind"][] } {
  const kinds: Answer["kind"][] = [];
  for (const request of requests) {
    const step = vote(voter, request, now_ms, () => true);
    voter = step.voter;
    kinds.push(step.answer.kind);
  }
  return { voter, kinds };
}

const prepare = (ballot: Ballot, slot = 5): Ballotwork => ({ ask: "prepare", slot, ballot, by: ballot.id });
const accept = (ballot: Ballot, record = version(5)): Ballotwork => ({
  ask: "accept",
  slot: record.number,
  ballot,
  record,
});

test("a vote is a promise, too: who bids less comes too late", () => {
  const { kinds } = after(START, [
    accept(bid(2, "b")),
    accept(bid(2, "a")),
    accept(bid(1, "f")),
    accept(bid(2, "b")),
  ]);
  assert.deepEqual(kinds, ["accepted", "outbid", "outbid", "accepted"]);
});

test("only the next version can be bid for", () => {
  const { kinds } = after(START, [prepare(bid(1, "a"), 4), prepare(bid(1, "a"), 6), prepare(bid(1, "a"), 5)]);
  assert.deepEqual(kinds, ["ahead", "behind", "promised"]);
});

test("a node waits for the one that it has promised, until that has been silent for long or gives up", () => {
  const { voter } = after(START, [prepare(bid(1, "a"))]);
  assert.deepEqual(after(voter, [prepare(bid(9, "b"))], PUSH_LEASE_MS - 1).kinds, ["busy"]);
  assert.deepEqual(after(voter, [prepare(bid(9, "b"))], PUSH_LEASE_MS).kinds, ["promised"]);
  const release: Ballotwork = { ask: "release", ballot: bid(1, "a") };
  assert.deepEqual(after(voter, [release, prepare(bid(9, "b"))], 1).kinds, ["released", "promised"]);
  const { voter: voted } = after(voter, [accept(bid(1, "a"))], 9000);
  assert.equal(isInDoubt(voted, 9000 + PUSH_LEASE_MS - 1), false);
  assert.equal(isInDoubt(voted, 9000 + PUSH_LEASE_MS), true);
});

test("nobody votes for a text that he has not got, and what is decided ends all promises", () => {
  assert.equal(vote(START, accept(bid(1, "a")), 0, () => false).answer.kind, "missing");
  const { voter } = after(START, [
    prepare(bid(1, "a")),
    accept(bid(1, "a")),
    { ask: "commit", record: version(7) },
  ]);
  assert.deepEqual(voter, startVoter({ current: version(7), promised: null, accepted: null }));
  assert.deepEqual(after(voter, [accept(bid(1, "a")), { ask: "commit", record: version(5) }]).kinds, [
    "ahead",
    "committed",
  ]);
  const other = { ...version(7), hash: "f".repeat(64) };
  assert.deepEqual(after(voter, [{ ask: "commit", record: other }]).kinds, ["failed"]);
});

test("of several votes that were left, the one with the highest bid is seen to its end", async () => {
  const left = [bid(1, "f"), bid(3, "a"), bid(2, "f")].map((ballot, i) => ({
    ballot,
    record: version(5, `left ${i}`),
  }));
  const votes: string[] = [];
  const voters = left.map((accepted) =>
    startVoter({ current: version(4), promised: accepted.ballot, accepted }),
  );
  const peers = voters.map((_, i) => ({ number: i, name: `node${i}`, address: "192.0.2.1", port: 1 }));
  const world = {
    now_ms: () => 0,
    pause: async () => undefined,
    newId: () => "8".repeat(16),
    ask: async ({ number }: { number: number }, request: { ask: string }): Promise<Answer> => {
      if (request.ask === "state") {
        const { current, accepted } = voters[number]!.durable;
        const running = { number: current.number, hash: current.hash };
        return { kind: "state", node: "", current, accepted, running, problem: "", peers, version: "" };
      }
      if (request.ask === "fetch") return { kind: "text", text: "" };
      const step = vote(voters[number]!, request as Ballotwork, 0, () => true);
      voters[number] = step.voter;
      if (request.ask === "accept")
        votes.push((request as { record: VersionRecord } & typeof request).record.comment);
      return request.ask === "stage" ? { kind: "good", warnings: [] } : step.answer;
    },
  };
  const proposal = { record: version(5, "mine"), text: "", file: "f", onRestart: false };
  await assert.rejects(propose(world, peers, proposal), { code: "PUSH_OVERTAKEN" });
  assert.deepEqual(new Set(votes), new Set(["left 1"]));
  assert.deepEqual(new Set(voters.map(({ durable }) => durable.current.comment)), new Set(["left 1"]));
});
