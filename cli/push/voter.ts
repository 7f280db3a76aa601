/**
 * A node's side of a push, as a step function: state and request in, state and answer out. It is an acceptor and learner of
 * Paxos with one decree for each version number, so that whoever dies or is cut off at whatever moment, no two nodes ever
 * hold different versions of one number (Lamport, Paxos Made Simple, 2001). Pure: whoever calls it writes `durable` to the
 * disk before the answer leaves, and takes `current` into use when it has changed.
 */
import { PUSH_LEASE_MS } from "../../conf/limits.ts";
import {
  compareBallots,
  type Accepted,
  type Answer,
  type Ballot,
  type Request,
  type VersionRecord,
} from "./messages.ts";

/** What outlasts everything. The promise and the vote are for the version after `current`. */
export interface Durable {
  readonly current: VersionRecord;
  readonly promised: Ballot | null;
  readonly accepted: Accepted | null;
}

/** Whom this node waits for, so that two pushes don't outbid each other. Forgotten by a restart, which only costs time. */
export interface Lock {
  readonly id: string;
  readonly by: string;
  readonly until_ms: number;
}

export interface Voter {
  readonly durable: Durable;
  readonly lock: Lock | undefined;
}

export interface Step {
  readonly voter: Voter;
  readonly answer: Answer;
}

/** The requests that change a voter, or are judged by it. */
export type Ballotwork = Extract<Request, { ask: "prepare" | "stage" | "accept" | "commit" | "release" }>;

export const startVoter = (durable: Durable): Voter => ({ durable, lock: undefined });

/**
 * Answers one request. `has` tells whether the text with a hash is kept on this node's disk. The answer to `stage` is
 * `promised` when the text may be kept; the caller looks at it then.
 */
export function vote(
  voter: Voter,
  request: Ballotwork,
  now_ms: number,
  has: (hash: string) => boolean,
): Step {
  switch (request.ask) {
    case "prepare":
      return prepare(voter, request, now_ms);
    case "stage":
      return stage(voter, request, now_ms);
    case "accept":
      return accept(voter, request, now_ms, has);
    case "commit":
      return commit(voter, request.record, has);
    case "release":
      return { voter: released(voter, request.ballot), answer: { kind: "released" } };
  }
}

type Of<Ask extends Ballotwork["ask"]> = Extract<Ballotwork, { ask: Ask }>;

const isHeld = (lock: Lock | undefined, now_ms: number): lock is Lock =>
  lock !== undefined && now_ms < lock.until_ms;

/** What is said to somebody who speaks of another version than the next one, or is too late. */
function objection({ durable }: Voter, slot: number, ballot: Ballot): Answer | undefined {
  const { current, promised } = durable;
  if (slot <= current.number) return { kind: "ahead", current };
  if (slot > current.number + 1) return { kind: "behind", current };
  if (promised !== null && compareBallots(ballot, promised) < 0)
    return { kind: "outbid", round: promised.round };
  return undefined;
}

function prepare(voter: Voter, { slot, ballot, by }: Of<"prepare">, now_ms: number): Step {
  const { durable, lock } = voter;
  if (isHeld(lock, now_ms) && lock.id !== ballot.id) return { voter, answer: { kind: "busy", by: lock.by } };
  const answer = objection(voter, slot, ballot);
  if (answer !== undefined) return { voter, answer };
  return {
    voter: {
      durable: { ...durable, promised: ballot },
      lock: { id: ballot.id, by, until_ms: now_ms + PUSH_LEASE_MS },
    },
    answer: { kind: "promised", accepted: durable.accepted },
  };
}

function stage(voter: Voter, { slot, ballot }: Of<"stage">, now_ms: number): Step {
  const answer = objection(voter, slot, ballot);
  if (answer !== undefined) return { voter, answer };
  return {
    voter: renewed(voter, ballot, now_ms),
    answer: { kind: "promised", accepted: voter.durable.accepted },
  };
}

function accept(
  voter: Voter,
  { slot, ballot, record }: Of<"accept">,
  now_ms: number,
  has: (hash: string) => boolean,
): Step {
  const answer = objection(voter, slot, ballot);
  if (answer !== undefined) return { voter, answer };
  if (record.number !== slot)
    return { voter, answer: { kind: "failed", reason: "the version is not that of the slot" } };
  // A vote for what nobody could fetch any more would be worth nothing.
  if (!has(record.hash)) return { voter, answer: { kind: "missing" } };
  const { current } = voter.durable;
  return {
    voter: renewed(
      { ...voter, durable: { current, promised: ballot, accepted: { ballot, record } } },
      ballot,
      now_ms,
    ),
    answer: { kind: "accepted" },
  };
}

/** It has been decided elsewhere: whatever was promised and voted for here is past. */
function commit(voter: Voter, record: VersionRecord, has: (hash: string) => boolean): Step {
  const { current } = voter.durable;
  if (record.number <= current.number) {
    const isSame = record.number < current.number || record.hash === current.hash;
    const reason = `version ${record.number} has two contents: ${record.hash} and ${current.hash}`;
    return { voter, answer: isSame ? { kind: "committed" } : { kind: "failed", reason } };
  }
  if (!has(record.hash)) return { voter, answer: { kind: "missing" } };
  return {
    voter: { durable: { current: record, promised: null, accepted: null }, lock: undefined },
    answer: { kind: "committed" },
  };
}

/** Whoever holds the lock and is still at work keeps it. */
function renewed(voter: Voter, { id }: Ballot, now_ms: number): Voter {
  const { lock } = voter;
  return lock?.id === id ? { ...voter, lock: { ...lock, until_ms: now_ms + PUSH_LEASE_MS } } : voter;
}

const released = (voter: Voter, { id }: Ballot): Voter =>
  voter.lock?.id === id ? { ...voter, lock: undefined } : voter;

/** Whether nobody is at work on the vote that this node has given: then it has to see to its end itself. */
export const isInDoubt = ({ durable, lock }: Voter, now_ms: number): boolean =>
  durable.accepted !== null && !isHeld(lock, now_ms);
