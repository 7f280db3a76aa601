/**
 * Whether a peer's kernel lives, judged by which of our heartbeats it has answered. Pure: times in, verdict out.
 *
 * Neither side's user space can cause a false alarm. A peer's answers are its kernel's, and are noted by ours; and only
 * heartbeats count that have really gone out, and that had time to be answered while this process was running.
 */
import type { SentTimes } from "./heartbeat-memory.ts";

/** How long an answer may take. On one segment it takes a fraction of a millisecond. */
const ANSWER_NS = 20_000_000;
/** Heartbeats that must have gone unanswered: two may be lost by chance. */
const UNANSWERED = 3;
/** Heartbeats in a row that a silent peer must have answered to be back. */
const ANSWERED = 2;
/** Judging is due every 10 ms; after a longer pause than this the whole machine may have stood still. */
const STALL_NS = 30_000_000;
/**
 * Then answers may have come that the kernel has not noted yet. It has this long before the peer is judged; but not
 * more often than this in one silence, or a process that keeps stalling would never find a dead peer.
 */
const CHANCE_NS = ANSWER_NS;
const CHANCES = 5;

export interface LivenessSettings {
  readonly heartbeat_ns: number;
  readonly dead_after_ns: number;
}
/** All times are CLOCK_MONOTONIC in ns. */
export interface Liveness {
  /** unknown: neither two answers nor a silence yet. */
  readonly phase: "unknown" | "reachable" | "silent";
  /** When it was last judged; undefined: never. */
  readonly judged_ns: number | undefined;
  /** The latest heartbeat that it answered, and how many before it in a row. */
  readonly answered_ns: number;
  readonly inRow: number;
  /** The first heartbeat after that one. */
  readonly silentSince_ns: number | undefined;
  /** No verdict before this, after a stall of our own. */
  readonly chanceUntil_ns: number;
  readonly chances: number;
}
export interface LivenessInput {
  /** Taken before `sent` and `answered_ns` are read: what comes in between is then in the peer's favour. */
  readonly now_ns: number;
  readonly sent: SentTimes;
  /** From the peers page. */
  readonly answered_ns: number;
}
export interface Verdict {
  readonly state: Liveness;
  readonly isSilent: boolean;
  readonly isReachable: boolean;
}

/** What is known of a peer at first. Whoever has inherited a verdict begins with it. */
export const newLiveness = (phase: Liveness["phase"] = "unknown"): Liveness => ({
  phase,
  judged_ns: undefined,
  answered_ns: 0,
  inRow: 0,
  silentSince_ns: undefined,
  chanceUntil_ns: 0,
  chances: CHANCES,
});

/** Judges one peer on one interface. To be called every 10 ms or so. */
export function judge(before: Liveness, input: LivenessInput, settings: LivenessSettings): Verdict {
  const heard = afterStall(takeAnswer(before, input), input.now_ns);
  const state = isOverdue(heard, input, settings)
    ? ({ ...heard, judged_ns: input.now_ns, phase: "silent", inRow: 0 } as const)
    : ({
        ...heard,
        judged_ns: input.now_ns,
        phase: heard.inRow >= ANSWERED ? "reachable" : heard.phase,
      } as const);
  return { state, isSilent: state.phase === "silent", isReachable: state.phase === "reachable" };
}

function takeAnswer(before: Liveness, { sent, answered_ns }: LivenessInput): Liveness {
  if (answered_ns <= before.answered_ns) {
    return { ...before, silentSince_ns: before.silentSince_ns ?? firstAfter(sent, before.answered_ns) };
  }
  const inRow = rowOf(before, sent, answered_ns);
  const silentSince_ns = firstAfter(sent, answered_ns);
  return { ...before, answered_ns, inRow, silentSince_ns, chances: CHANCES };
}

/** The oldest heartbeat that is newer than the one answered last. */
function firstAfter(sent: SentTimes, answered_ns: number): number | undefined {
  for (let i = 0; i < sent.count; i++) if (sent.sent_ns[i]! > answered_ns) return sent.sent_ns[i];
  return undefined;
}

/** Whether others went unanswered between two answers can't be told when both are new: then the row begins anew. */
function rowOf({ answered_ns: former_ns, inRow }: Liveness, sent: SentTimes, answered_ns: number): number {
  const index = sent.sent_ns.indexOf(answered_ns);
  // An answer to a heartbeat of a process before this one says nothing of now.
  if (index < 0 || index >= sent.count) return 0;
  return index > 0 && sent.sent_ns[index - 1] === former_ns ? inRow + 1 : 1;
}

function afterStall(state: Liveness, now_ns: number): Liveness {
  const isStalled = state.judged_ns === undefined || now_ns - state.judged_ns > STALL_NS;
  if (!isStalled || state.chances === 0) return state;
  return { ...state, chanceUntil_ns: now_ns + CHANCE_NS, chances: state.chances - 1 };
}

function isOverdue(
  { answered_ns, silentSince_ns, chanceUntil_ns }: Liveness,
  { now_ns, sent }: LivenessInput,
  { heartbeat_ns, dead_after_ns }: LivenessSettings,
): boolean {
  if (silentSince_ns === undefined || now_ns < chanceUntil_ns) return false;
  // A node dies just after an answer: its silence is a heartbeat longer than that of the first one unanswered.
  if (now_ns - silentSince_ns < dead_after_ns - heartbeat_ns) return false;
  let unanswered = 0;
  for (let i = 0; i < sent.count; i++) {
    if (sent.sent_ns[i]! > answered_ns && sent.handed_ns[i]! + ANSWER_NS <= now_ns) unanswered++;
  }
  return unanswered >= UNANSWERED;
}
