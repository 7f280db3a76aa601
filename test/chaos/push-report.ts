/**
 * What is seen of an array while versions are pushed, and what must be true of it: a version has one content everywhere, no node
 * runs what was never in force, and no answer is half of one version and half of another. Pure.
 */
import type { Peer, VersionRecord } from "../../cli/push/messages.ts";

/** A look at a node. */
export interface NodeSeen {
  readonly kind: "node";
  readonly at_ms: number;
  readonly node: string;
  readonly current: VersionRecord;
  readonly running: { readonly number: number; readonly hash: string };
  readonly isInDoubt: boolean;
  readonly problem: string;
  readonly history: readonly VersionRecord[];
}

/** An answer of the vserver that changes: what two parts of the configuration have put into it. */
export interface MarkerSeen {
  readonly kind: "marker";
  readonly at_ms: number;
  /** The node's address, as the web server saw it. */
  readonly node: string;
  readonly rule: string;
  readonly cookie: string;
}
/** Whom the observer looks at. */
export interface ObserverPlan {
  readonly keyFile: string;
  readonly peers: readonly Peer[];
  readonly host: string;
  readonly port: number;
}

export type Seen = NodeSeen | MarkerSeen;

export interface Sight {
  /** By number: what has been in force. */
  readonly versions: Map<number, VersionRecord>;
  /** Markers that were served, each with the first time. */
  readonly markers: Map<string, number>;
  /** By node, the last look. */
  readonly nodes: Map<string, NodeSeen>;
  /** What a node ran, so that it can be compared when all is known. */
  readonly ran: Map<string, number>;
  readonly wrong: string[];
  looks: number;
  answers: number;
}

export const newSight = (): Sight => ({
  versions: new Map(),
  markers: new Map(),
  nodes: new Map(),
  ran: new Map(),
  wrong: [],
  looks: 0,
  answers: 0,
});

export function see(sight: Sight, seen: Seen): void {
  if (seen.kind === "marker") {
    sight.answers++;
    if (seen.rule !== seen.cookie)
      sight.wrong.push(`an answer of ${seen.node} is half of version ${seen.rule}, half of ${seen.cookie}`);
    if (!sight.markers.has(seen.rule)) sight.markers.set(seen.rule, seen.at_ms);
    return;
  }
  sight.looks++;
  sight.nodes.set(seen.node, seen);
  for (const record of [seen.current, ...seen.history]) decided(sight, seen.node, record);
  const { number, hash } = seen.running;
  sight.ran.set(`${number} ${hash} ${seen.node}`, seen.at_ms);
}

function decided({ versions, wrong }: Sight, node: string, record: VersionRecord): void {
  const known = versions.get(record.number);
  if (known === undefined) versions.set(record.number, record);
  else if (JSON.stringify(known) !== JSON.stringify(record))
    wrong.push(`version ${record.number} is two: ${known.comment}, and ${record.comment} on ${node}`);
}

/** What is wrong when all is over: beside what was seen at once, what ran or was served without ever being in force. */
export function faultsOf({ versions, markers, ran, wrong }: Sight, firstMarker: string): string[] {
  const inForce = new Set([...versions.values()].map(({ comment }) => comment));
  const strayMarkers = [...markers.keys()].filter((marker) => marker !== firstMarker && !inForce.has(marker));
  const strayRuns = [...ran.keys()].filter((key) => {
    const [number = "", hash = ""] = key.split(" ");
    return versions.get(Number(number))?.hash !== hash;
  });
  return [
    ...wrong,
    ...strayMarkers.map((marker) => `${marker} was served, and never in force`),
    ...strayRuns.map((key) => `${key.split(" ")[2]} ran what was never in force: ${key}`),
  ];
}

/** Why the nodes don't agree yet, by looks since a moment; empty when all are on one version and run it. */
export function disagreement({ nodes }: Sight, names: readonly string[], since_ms: number): string {
  const looks = names.map((name) => ({ name, seen: nodes.get(name) }));
  const missing = looks.find(({ seen }) => seen === undefined || seen.at_ms < since_ms);
  if (missing !== undefined) return `${missing.name} has not answered`;
  const numbers = new Set(looks.map(({ seen }) => `${seen!.current.number} ${seen!.current.hash}`));
  if (numbers.size > 1) return `versions ${looks.map(({ seen }) => seen!.current.number).join(", ")}`;
  for (const { name, seen } of looks) {
    const { current, running, isInDoubt, problem } = seen!;
    if (isInDoubt) return `${name} is in doubt`;
    if (running.hash !== current.hash || running.number !== current.number)
      return `${name} runs version ${running.number}: ${problem}`;
  }
  return "";
}

/** How a push ended, by its exit code and what it said. */
export type PushEnd = "done" | "not" | "open";

/** Whether it has said that its version is in force, that it never will be, or neither. */
export function endOf(code: number | null, stderr: string): PushEnd {
  if (code === 0 || stderr.includes("in force, but does not run")) return "done";
  return code === null || stderr.includes("it is not known whether") ? "open" : "not";
}
