/**
 * A watch over other nodes' kernels: heartbeats to them on every interface, and a verdict on each every few
 * milliseconds.
 */
import { DlbaError } from "../conf/errors.ts";
import { newSentTimes } from "./heartbeat-memory.ts";
import { monotonic_ns } from "../conf/clock.ts";
import type { HeartbeatSender } from "./heartbeat-sender.ts";
import type { Peers } from "./peers-page.ts";
import { judge, newLiveness, type Liveness, type LivenessSettings } from "./liveness.ts";

/** How often peers should be judged; see STALL_NS in liveness.ts. */
export const JUDGE_EVERY_MS = 10;

export interface WatchOptions {
  readonly peers: readonly number[];
  /** What the kernel notes of them, by slot. */
  readonly pages: readonly Pick<Peers, "answered_ns">[];
  readonly sender: Pick<HeartbeatSender, "read">;
  readonly heartbeat_ms: number;
  readonly dead_after_ms: number;
  /** What was known before, for example by a process before this one. */
  readonly phaseAtFirst?: (slot: number, peer: number) => Liveness["phase"];
  readonly now_ns?: () => number;
}
export interface LivenessChange {
  readonly slot: number;
  readonly peer: number;
  readonly phase: Liveness["phase"];
}
export interface Watch {
  /** Judges all peers, and says for which the verdict is another one now. */
  look(): LivenessChange[];
  phaseOf(slot: number, peer: number): Liveness["phase"];
}

export function createWatch(options: WatchOptions): Watch {
  const { peers, pages, sender } = options;
  const now_ns = options.now_ns ?? monotonic_ns;
  const sent = newSentTimes();
  const settings: LivenessSettings = {
    heartbeat_ns: options.heartbeat_ms * 1e6,
    dead_after_ns: options.dead_after_ms * 1e6,
  };
  const atFirst = (slot: number, peer: number): Liveness => newLiveness(options.phaseAtFirst?.(slot, peer));
  const states = pages.map((_, slot) => new Map(peers.map((peer) => [peer, atFirst(slot, peer)])));
  const lookAt = (slot: number, peer: number, before: Liveness): LivenessChange[] => {
    // In this order: what is sent or answered meanwhile is then in the peer's favour.
    const now = now_ns();
    sender.read(slot, peer, sent);
    const answered_ns = Number(pages[slot]?.answered_ns(peer) ?? 0n);
    const { state } = judge(before, { now_ns: now, sent, answered_ns }, settings);
    states[slot]?.set(peer, state);
    return state.phase === before.phase ? [] : [{ slot, peer, phase: state.phase }];
  };
  return {
    look: () =>
      states.flatMap((ofSlot, slot) => [...ofSlot].flatMap(([peer, state]) => lookAt(slot, peer, state))),
    phaseOf: (slot, peer) => {
      const state = states[slot]?.get(peer);
      if (state === undefined) throw new DlbaError("NODE_UNKNOWN", `node ${peer} is not watched`);
      return state.phase;
    },
  };
}
