/**
 * Carries out what the elector wants, in the order that `ElectorActions` gives. One tick's deeds are done when this
 * returns, but for the disk.
 */
import { describeError } from "../conf/errors.ts";
import type { HeartbeatSender } from "../net/heartbeat-sender.ts";
import type { Lease } from "../net/lease.ts";
import type { PacketSocket } from "../net/packet-socket.ts";
import type { Logger } from "../status/log.ts";
import type { Echoes } from "./echoes.ts";
import type { ElectorActions } from "./elector.ts";
import type { EpochFile } from "./epoch-file.ts";
import { logEvent } from "./events.ts";
import type { Senses } from "./senses.ts";

/** One segment, with the announcements that go out there. */
export interface Voice {
  readonly socket: PacketSocket;
  frames: readonly Buffer[];
}
export interface Tools {
  readonly log: Logger;
  readonly senses: Pick<Senses, "markDead">;
  readonly sender: Pick<HeartbeatSender, "setNews" | "setOffer" | "setPace" | "askNow">;
  readonly voices: readonly Voice[];
  readonly echoes: Pick<Echoes, "ask">;
  readonly epochs: Pick<EpochFile, "reserve">;
}
/** For the status tables. */
export interface Tally {
  renewals: number;
  announcements: number;
  takeovers: number;
  yields: number;
  foreignClaims: number;
  foreignMac: string | null;
  /** The paces that the sender has. */
  paces_ms: ReadonlyMap<number, number>;
  /** Why this node does not stand; empty when it does. */
  cannotStand: string;
}

export const newTally = (): Tally => ({
  renewals: 0,
  announcements: 0,
  takeovers: 0,
  yields: 0,
  foreignClaims: 0,
  foreignMac: null,
  paces_ms: new Map(),
  cannotStand: "",
});

export function carryOut(
  tools: Tools,
  lease: Lease,
  tally: Tally,
  actions: ElectorActions,
  now_ns: number,
): void {
  const { raise } = actions;
  // The kernel was faster: a later scheduler has asked. The next tick sees who.
  if (raise !== undefined && !raised(lease, raise)) return;
  if (actions.markDead !== undefined) tools.senses.markDead(actions.markDead);
  lease.setUntil(BigInt(Math.floor(actions.until_ns)));
  if (actions.until_ns > 0) tally.renewals++;
  lease.tell({ stands: actions.stands, side: actions.side });
  if (actions.clearsOffer) lease.clearOffered();
  tellSender(tools, tally, actions);
  if (actions.announce) announce(tools, tally);
  tools.echoes.ask(actions.wantsEcho, now_ns);
  if (actions.reserveCounter !== undefined) tools.epochs.reserve(actions.reserveCounter);
  for (const event of actions.events) {
    count(tally, event);
    logEvent(tools.log, event);
  }
}

const raised = (lease: Lease, { from, to, former }: NonNullable<ElectorActions["raise"]>): boolean =>
  lease.raiseEpoch(from, to, former) || lease.epoch() === to;

function tellSender(
  { sender }: Tools,
  tally: Tally,
  { news, offerTo, paces_ms, askNow }: ElectorActions,
): void {
  sender.setNews(news);
  sender.setOffer(offerTo);
  if (paces_ms !== tally.paces_ms) {
    for (const [peer, interval_ms] of paces_ms) sender.setPace(peer, interval_ms);
    tally.paces_ms = paces_ms;
  }
  if (askNow) sender.askNow();
}

/** Says on all segments where the VIPs are. */
export function announce({ voices, log }: Pick<Tools, "voices" | "log">, tally: Tally): void {
  tally.announcements++;
  for (const { socket, frames } of voices) {
    try {
      for (const frame of frames) socket.send(frame);
    } catch (error) {
      log.warn({ reason: describeError(error) }, "the VIPs could not be announced on a segment");
    }
  }
}

function count(tally: Tally, { kind, reason, mac }: ElectorActions["events"][number]): void {
  if (kind === "claims") tally.takeovers++;
  if (kind === "yields" || kind === "gives-up") tally.yields++;
  if (kind === "stands") tally.cannotStand = "";
  if (kind === "stands-not") tally.cannotStand = reason ?? "it can't forward";
  if (kind === "foreign-claim") {
    tally.foreignClaims++;
    tally.foreignMac = mac ?? null;
  }
}
