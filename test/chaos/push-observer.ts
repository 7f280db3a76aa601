/**
 * Looks at an array from outside, on the client's host: asks all nodes for their versions, and the vserver that changes for its
 * markers, again and again. Run as `node test/chaos/push-observer.ts PLAN`; a line of JSON for each look (push-report.ts), until
 * standard input ends.
 */
import { get } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { DlbaError } from "../../conf/errors.ts";
import { readArrayKey } from "../../conf/keys.ts";
import { askPeer } from "../../cli/push/control.ts";
import type { Peer } from "../../cli/push/messages.ts";
import { monotonicNow_ms } from "../../lab/flow-report.ts";
import type { ObserverPlan, Seen } from "./push-report.ts";

const NODE_EVERY_MS = 250;
const MARKER_EVERY_MS = 40;
const ANSWER_MS = 1000;

const plan: ObserverPlan = JSON.parse(process.argv[2] ?? "");
const arrayKey = readArrayKey(plan.keyFile);

const tell = (seen: Seen): void => void process.stdout.write(`${JSON.stringify(seen)}\n`);

async function lookAtNode(peer: Peer): Promise<void> {
  const state = await askPeer(arrayKey, peer, { ask: "state" }, ANSWER_MS);
  const past = await askPeer(arrayKey, peer, { ask: "history" }, ANSWER_MS);
  if (state.kind !== "state" || past.kind !== "history") return;
  const { current, running, problem } = state;
  const isInDoubt = state.accepted !== null;
  const at_ms = monotonicNow_ms();
  tell({ kind: "node", at_ms, node: peer.name, current, running, isInDoubt, problem, history: past.records });
}

async function watchNode(peer: Peer): Promise<void> {
  for (;;) {
    try {
      await lookAtNode(peer);
    } catch (error) {
      // It is away: that is what the run is about.
      if (!(error instanceof DlbaError)) throw error;
    }
    await sleep(NODE_EVERY_MS);
  }
}

/** A new connection each time, so that all nodes come. */
function lookAtMarker(): void {
  const request = get({ host: plan.host, port: plan.port, path: "/id", agent: false, timeout: ANSWER_MS });
  request.on("timeout", () => request.destroy());
  request.on("error", () => undefined);
  request.on("response", (response) => {
    response.resume();
    const { headers, statusCode } = response;
    if (statusCode !== 200) return;
    const cookie = /^([^=]+)=/.exec(headers["set-cookie"]?.[0] ?? "")?.[1] ?? "";
    const node = String(headers["x-asked-by"] ?? "");
    tell({ kind: "marker", at_ms: monotonicNow_ms(), node, rule: String(headers["x-marker"]), cookie });
  });
}

for (const peer of plan.peers) void watchNode(peer);
setInterval(lookAtMarker, MARKER_EVERY_MS);
process.stdin.resume().on("end", () => process.exit(0));
