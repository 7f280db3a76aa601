/**
 * Health checks of a pool's hosts: when each is due, and what its results make of it. Pure: results and times
 * in, the host to be asked and its changes out.
 */
import { CHECK_FIRST_WITHIN_MS } from "../../conf/limits.ts";

export interface CheckSettings {
  readonly interval_ms: number;
  /** Good checks in a row after which a host that is down is up. */
  readonly rise: number;
  /** Failed ones after which a host that is up is down. */
  readonly fall: number;
}
/** unsure: the check could not be made, for a reason of this node's own. It says nothing about the host. */
export type CheckResult =
  | { readonly kind: "good" }
  | { readonly kind: "bad" | "unsure"; readonly reason: string };
export interface HostHealth {
  /** starting: not checked yet. */
  readonly state: "starting" | "up" | "down";
  /** Results in a row that speak against the state. */
  readonly against: number;
  /** What was wrong with the last check, for people; empty when nothing was. */
  readonly reason: string;
  readonly due_ms: number;
  readonly isRunning: boolean;
}
export interface Checks {
  readonly settings: CheckSettings;
  readonly hosts: ReadonlyMap<number, HostHealth>;
  readonly started_ms: number;
  /** None is asked before this: checks that are late don't come all at once. */
  readonly pace_ms: number;
}
export interface HealthChange {
  readonly host: number;
  readonly isUp: boolean;
  /** Why it is down; empty when it is up. */
  readonly reason: string;
}

/** The first round goes over the hosts within a second, or within the interval if that is shorter. */
export function startChecks(hosts: readonly number[], settings: CheckSettings, now_ms: number): Checks {
  const spread_ms = Math.min(settings.interval_ms, CHECK_FIRST_WITHIN_MS) / hosts.length;
  const first = (i: number): HostHealth => ({
    state: "starting",
    against: 0,
    reason: "",
    due_ms: now_ms + i * spread_ms,
    isRunning: false,
  });
  return {
    settings,
    hosts: new Map(hosts.map((host, i) => [host, first(i)])),
    started_ms: now_ms,
    pace_ms: now_ms,
  };
}

/** When the next host is due; Infinity while all are being checked. */
export function nextDue_ms({ hosts, pace_ms }: Checks): number {
  const due = [...hosts.values()].filter(({ isRunning }) => !isRunning).map(({ due_ms }) => due_ms);
  return Math.max(pace_ms, Math.min(...due));
}

/** The host to be checked now, which has been waiting longest; undefined when none is due. */
export function takeDue(checks: Checks, now_ms: number): { checks: Checks; host: number | undefined } {
  const waiting = [...checks.hosts].filter(([, { isRunning, due_ms }]) => !isRunning && due_ms <= now_ms);
  const [host, health] = waiting.toSorted(([, one], [, other]) => one.due_ms - other.due_ms)[0] ?? [];
  if (host === undefined || health === undefined || now_ms < checks.pace_ms)
    return { checks, host: undefined };
  const due_ms = nextTurn_ms(checks, host, now_ms);
  const pace_ms = now_ms + spacing_ms(checks, CHECK_FIRST_WITHIN_MS) / 2;
  return { checks: { ...withHost(checks, host, { ...health, isRunning: true, due_ms }), pace_ms }, host };
}

const spacing_ms = ({ settings, hosts }: Checks, most_ms = Infinity): number =>
  Math.min(settings.interval_ms, most_ms) / hosts.size;

/** Each host has its own place in the interval, and keeps it; after a late check one that is too near is left out. */
function nextTurn_ms(checks: Checks, host: number, now_ms: number): number {
  const { interval_ms } = checks.settings;
  const place = [...checks.hosts.keys()].indexOf(host);
  const first_ms = checks.started_ms + place * spacing_ms(checks);
  const earliest_ms = now_ms + Math.min(interval_ms, CHECK_FIRST_WITHIN_MS) / 2;
  return first_ms + Math.max(0, Math.ceil((earliest_ms - first_ms) / interval_ms)) * interval_ms;
}

/** A check has ended. */
export function takeResult(
  checks: Checks,
  host: number,
  result: CheckResult,
): { checks: Checks; change: HealthChange | undefined } {
  const before = checks.hosts.get(host);
  if (before === undefined) return { checks, change: undefined };
  const after = judged(before, result, checks.settings);
  const isChanged = after.state !== before.state;
  return {
    checks: withHost(checks, host, { ...after, isRunning: false }),
    change: isChanged ? { host, isUp: after.state === "up", reason: after.reason } : undefined,
  };
}

function judged(health: HostHealth, result: CheckResult, { rise, fall }: CheckSettings): HostHealth {
  const reason = result.kind === "good" ? "" : result.reason;
  if (result.kind === "unsure") return { ...health, reason };
  const told = result.kind === "good" ? "up" : "down";
  if (told === health.state) return { ...health, against: 0, reason };
  // The first check decides by itself: a start sends no clients into the void, and makes none wait.
  const needed = health.state === "starting" ? 1 : told === "up" ? rise : fall;
  const against = health.against + 1;
  return against < needed ? { ...health, against, reason } : { ...health, state: told, against: 0, reason };
}

function withHost(checks: Checks, host: number, health: HostHealth): Checks {
  return { ...checks, hosts: new Map(checks.hosts).set(host, health) };
}
