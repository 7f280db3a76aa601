/** What happened in an election, in an operator's words. */
import { epochText } from "../conf/epoch.ts";
import type { Logger } from "../status/log.ts";
import type { ElectorEvent } from "./elector.ts";

const TEXTS: Readonly<
  Record<ElectorEvent["kind"], readonly [level: "info" | "warn" | "error", text: string]>
> = {
  looks: ["info", "looks whether there is a scheduler"],
  follows: ["info", "follows a scheduler"],
  contends: ["warn", "the scheduler has to be succeeded"],
  "follows-again": ["info", "the scheduler lives after all"],
  claims: ["warn", "this node is the scheduler now, and announces the VIPs"],
  resumes: ["warn", "this node goes on as the scheduler: nobody took over while it stood still"],
  yields: ["warn", "there is a later scheduler: this node no longer answers for the VIPs"],
  "gives-up": ["warn", "this node can't be the scheduler any more and lets another one take over"],
  stands: ["info", "this node would take over"],
  "stands-not": ["warn", "this node would not take over"],
  held: ["warn", "does not take over: others still hear the scheduler"],
  offers: ["info", "asks another node to take over"],
  "offer-ended": ["info", "no longer asks another node to take over"],
  "announces-again": ["info", "announces the VIPs again, after a conflict about them"],
  "foreign-claim": [
    "error",
    "DUPLICATE ADDRESS: a machine outside the array claims a VIP; find it by its MAC address and take the address from it",
  ],
};

export function logEvent(log: Logger, { kind, epoch, peer, reason, mac }: ElectorEvent): void {
  const [level, text] = TEXTS[kind];
  const facts = { event: kind, epoch: epochText(epoch), peer, reason, mac };
  log[level](facts, text);
}
