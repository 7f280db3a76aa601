/**
 * Which log lines are events: things that an operator wants to know of afterwards. Their kinds and severities are a schema that
 * stays while sentences may change; a test keeps the two in step. Pure.
 */
import { EVENT_FACTS, EVENT_TEXT_CHARACTERS } from "../conf/limits.ts";
import type { EventSeverity, NodeEvent, ProcessName } from "../conf/messages.ts";

type Kind = readonly [kind: string, severity: EventSeverity];

/** By the log line's sentence. */
export const EVENT_KINDS: Readonly<Record<string, Kind>> = {
  // Who schedules.
  "this node is the scheduler now, and announces the VIPs": ["takeover", "warning"],
  "this node goes on as the scheduler: nobody took over while it stood still": [
    "scheduler-resumed",
    "warning",
  ],
  "there is a later scheduler: this node no longer answers for the VIPs": ["scheduler-yielded", "warning"],
  "this node can't be the scheduler any more and lets another one take over": [
    "scheduler-gave-up",
    "warning",
  ],
  "the scheduler has to be succeeded": ["scheduler-lost", "warning"],
  "follows a scheduler": ["scheduler-followed", "info"],
  "this node would take over": ["stands", "info"],
  "this node would not take over": ["stands-not", "warning"],
  "does not take over: others still hear the scheduler": ["takeover-held", "warning"],
  "DUPLICATE ADDRESS: a machine outside the array claims a VIP; find it by its MAC address and take the address from it":
    ["foreign-vip", "error"],
  "another node is to take over": ["handover", "info"],
  "a hand-over has failed": ["handover-failed", "warning"],
  "the epoch can't be kept on disk": ["epoch-not-kept", "error"],
  "the VIPs could not be announced on a segment": ["announcement-failed", "warning"],
  // Nodes, hosts and the data plane.
  "a node is routed round": ["node-failed", "error"],
  "a node's state has changed": ["node-state", "info"],
  "an operator drains a node": ["node-drain", "info"],
  "an operator has a node take traffic again": ["node-undrain", "info"],
  "a direct pool's host is routed round": ["host-down", "warning"],
  "a direct pool's host is up": ["host-up", "info"],
  "the data plane is up": ["data-plane-up", "info"],
  // Web servers and workers.
  "web server passed over": ["web-server-down", "warning"],
  "web server is back": ["web-server-up", "info"],
  "web server is not well": ["web-server-unwell", "warning"],
  "web server is well": ["web-server-well", "info"],
  "web server left out": ["web-server-ejected", "warning"],
  "a web server stands otherwise now": ["web-server-state", "info"],
  "no more connections are accepted for now": ["accept-paused", "error"],
  "the access log can't be written: lines are lost": ["access-log-lost", "warning"],
  "the log can't be written: lines wait, then are lost": ["log-lost", "error"],
  "the log is written again": ["log-back", "info"],
  "the clock has jumped": ["clock-jumped", "warning"],
  "the new certificates can't be used": ["certificates-refused", "error"],
  "certificates are taken": ["certificates-taken", "info"],
  "a certificate is out of date": ["certificate-dates", "warning"],
  "a certificate ends soon": ["certificate-ends", "warning"],
  "something of the status can't be served": ["status-not-served", "error"],
  "a new certificate of the status can't be used": ["status-certificate", "warning"],
  "traces can't be sent: some are lost": ["traces-lost", "warning"],
  "somebody without the right token was refused the dashboard": ["dashboard-refused", "warning"],
  // The node's processes and configuration.
  starting: ["node-starts", "info"],
  stopping: ["node-stops", "info"],
  reloaded: ["reloaded", "info"],
  "the array key is being changed": ["key-change", "info"],
  "the array key was not changed": ["key-not-changed", "error"],
  "processes have not taken the array key yet": ["key-lags", "warning"],
  "the new configuration is in force, but VIPs on lo are not": ["vips-not-in-line", "error"],
  "nothing was changed: the reload can't be done": ["reload-refused", "error"],
  "a pushed configuration is in force": ["config-pushed", "info"],
  "a pushed configuration can't be taken: this node runs the one before": ["config-not-taken", "error"],
  "a version was missed and has been fetched": ["config-caught-up", "info"],
  "a pushed version can't be fetched or kept": ["config-not-kept", "error"],
  "pushes can't be answered": ["push-deaf", "error"],
  "the version that was pushed last is run, and not the configuration file, which differs": [
    "config-file-passed-over",
    "warning",
  ],
  "process ended, it is started again": ["process-ended", "error"],
  "process could not be started": ["process-not-started", "error"],
  "process did not stop in time, it is killed": ["process-killed", "warning"],
};

/** The event that a log line is; undefined for one that is none. `line` is what was logged beside the sentence. */
export function eventOf(
  sentence: string,
  line: Readonly<Record<string, unknown>>,
  process: ProcessName,
  worker: number,
  at_ms: number,
): NodeEvent | undefined {
  const known = Object.hasOwn(EVENT_KINDS, sentence) ? EVENT_KINDS[sentence] : undefined;
  if (known === undefined) return undefined;
  const [kind, severity] = known;
  return { at_ms, kind, severity, process, worker, text: sentence, facts: factsOf(line) };
}

/** Short texts and numbers, a bounded number of them. */
function factsOf(line: Readonly<Record<string, unknown>>): NodeEvent["facts"] {
  const facts = Object.entries(line).flatMap(([key, value]): [string, string | number][] => {
    if (key === "event") return [];
    if (typeof value === "number" && Number.isFinite(value)) return [[key, value]];
    const text = textOf(value);
    return text === undefined ? [] : [[key, text.slice(0, EVENT_TEXT_CHARACTERS)]];
  });
  return Object.fromEntries(facts.slice(0, EVENT_FACTS));
}

function textOf(value: unknown): string | undefined {
  if (typeof value === "string") return value.replaceAll(/\s*\n\s*/g, "; ");
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (!Array.isArray(value)) return undefined;
  return value.filter((each) => typeof each === "string").join("; ");
}
