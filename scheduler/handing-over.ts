/**
 * Another node takes over in order: nothing new is planned, until it has all there is; then the failover process asks it
 * to. Pure: facts and times in, the next step out.
 */
import { DlbaError } from "../conf/errors.ts";
import { HEARTBEAT_STANDS } from "../net/heartbeat.ts";
import type { Judgement, Member } from "./nodes/members.ts";

/** The other node has this long to acknowledge the table, and then this long to take over. */
const PREPARE_NS = 2_000_000_000n;
const TAKE_NS = 1_000_000_000n;

/** A node that might take over. */
export interface Candidate {
  readonly member: Pick<Member, "config" | "isSelf" | "isInStep">;
  readonly judgement: Pick<Judgement, "state">;
  /** Flags of its latest answer to a heartbeat, on every segment. */
  readonly flags: readonly number[];
}

/** Why a node can't take over now; empty when it can. */
function hindranceOf({ member, judgement, flags }: Candidate): string {
  const { state } = judgement;
  if (member.isSelf) return "it is the scheduler already";
  if (state !== "up" && state !== "draining" && state !== "drained") return `it is ${state}`;
  if (!member.isInStep) return "it does not follow the bucket table";
  if (member.config.priority === 0) return "its priority is 0";
  return flags.every((one) => (one & HEARTBEAT_STANDS) !== 0) ? "" : "its failover process does not stand";
}

/**
 * Who shall take over: the one that was asked for, else the best one that is up: the highest priority, and of equals the
 * first in the configuration. Throws DlbaError HANDOVER_REFUSED.
 */
export function chooseSuccessor(candidates: readonly Candidate[], wanted: number | undefined): number {
  const found = candidates.find(({ member }) => member.config.number === wanted);
  if (found !== undefined) {
    const hindrance = hindranceOf(found);
    if (hindrance === "") return found.member.config.number;
    throw refused(`${found.member.config.name} can't take over: ${hindrance}`);
  }
  const able = candidates.filter((one) => one.judgement.state === "up" && hindranceOf(one) === "");
  // The sort keeps the order of equals.
  const [best] = able.toSorted((a, b) => b.member.config.priority - a.member.config.priority);
  if (best !== undefined) return best.member.config.number;
  throw refused("no other node can take over now");
}

const refused = (text: string): DlbaError =>
  new DlbaError("HANDOVER_REFUSED", text, {
    hint: "a node can when it is up or draining, follows the bucket table and its failover process runs: see 'dlba show nodes'",
  });

export interface HandOver {
  readonly target: number;
  readonly began_ns: bigint;
  offered_ns: bigint | undefined;
}

export interface HandOverInput {
  readonly now_ns: bigint;
  /** The version of the table, and the one that the target has; null while it does not follow. */
  readonly version: number;
  readonly targetVersion: number | null;
  /** Proposals under way. */
  readonly waiting: number;
}

/** A hand-over that begins now. */
export const beginHandOver = (target: number, now_ns: bigint): HandOver => ({
  target,
  began_ns: now_ns,
  offered_ns: undefined,
});

/** The next step; offer: the target is to be asked now. It ends with this node's role, or by giving up. */
export function stepHandOver(handOver: HandOver, input: HandOverInput): "wait" | "offer" | "give up" {
  const { now_ns, version, targetVersion, waiting } = input;
  if (handOver.offered_ns !== undefined) return now_ns - handOver.offered_ns < TAKE_NS ? "wait" : "give up";
  if (waiting === 0 && targetVersion === version) {
    handOver.offered_ns = now_ns;
    return "offer";
  }
  return now_ns - handOver.began_ns < PREPARE_NS ? "wait" : "give up";
}
