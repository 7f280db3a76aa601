/**
 * What the flow program (flows.ts) is asked to do and what it tells; and whose fault an error was. Pure.
 *
 * A flow is one client connection. Its node is known from its first answer on (`X-Asked-By`: the node's address as the
 * web server saw it; `X-Web-Server` where no web server stands behind). Times are CLOCK_MONOTONIC in milliseconds,
 * which is one clock for all of the machine's processes.
 */
import { monotonic_ns } from "../conf/clock.ts";

/** Where connections go to, and what is asked for on them. */
export interface FlowTarget {
  readonly host: string;
  readonly port: number;
  readonly path: string;
}
/** Connections that are kept, with a request after each pause; one that ends is opened again. */
export interface HeldGroup extends FlowTarget {
  readonly kind: "held";
  readonly name: string;
  readonly connections: number;
  /** Least and longest pause between an answer and the next request; each is drawn anew. */
  readonly pause_ms: readonly [least: number, most: number];
  /** A connection ends after so many answers; left out: only with the flows. */
  readonly most_answers?: number;
}
/** New connections at a rate, each with one request. */
export interface FreshGroup extends FlowTarget {
  readonly kind: "fresh";
  readonly name: string;
  readonly per_second: number;
}
export type FlowGroup = HeldGroup | FreshGroup;

export interface FlowPlan {
  readonly groups: readonly FlowGroup[];
  /** A connection or an answer that takes longer is an error. */
  readonly answer_within_ms: number;
  /** It ends by itself after this, whoever has forgotten it. */
  readonly most_s: number;
}

export interface Flow {
  readonly group: string;
  /** The node that serves it, as it was told; "" before the first answer. */
  readonly node: string;
  /** 0 when it was never connected. */
  readonly client_port: number;
  readonly opened_ms: number;
  /** When it ended or failed. */
  readonly ended_ms: number;
  readonly answers: number;
  /** The slowest answer; the first one's time includes the connection's. */
  readonly slowest_ms: number;
  /** When the slowest answer came. */
  readonly slowest_at_ms: number;
  /** Null when it ended in order. */
  readonly error: string | null;
}

/** A node that died, by the name that its flows have for it: it takes a moment, in which it may still accept. */
export interface Death {
  readonly node: string;
  readonly begun_ms: number;
  readonly done_ms: number;
}

/** Milliseconds of CLOCK_MONOTONIC, the clock of all times here. */
export const monotonicNow_ms = (): number => monotonic_ns() / 1e6;

/**
 * Whose fault a flow's error is: of a node that lived, or of one that died while the flow was. A flow that no node had
 * answered yet when one died may have been that one's: nobody can tell.
 */
export function faultOf(flow: Flow, deaths: readonly Death[]): "none" | "living" | "dead" | "unknown" {
  if (flow.error === null) return "none";
  const during = deaths.filter((death) => flow.opened_ms <= death.done_ms && death.begun_ms <= flow.ended_ms);
  if (flow.node === "") return during.length > 0 ? "unknown" : "living";
  return during.some(({ node }) => node === flow.node) ? "dead" : "living";
}

export interface GroupFigures {
  readonly flows: number;
  readonly answers: number;
  /** The slowest answer on a flow without an error. */
  readonly slowest_ms: number;
  readonly errors_living: number;
  readonly errors_dead: number;
  readonly errors_unknown: number;
}

/** Figures of each group, by its name. */
export function figuresOf(flows: readonly Flow[], deaths: readonly Death[]): Record<string, GroupFigures> {
  const groups = Map.groupBy(flows, ({ group }) => group);
  return Object.fromEntries(
    [...groups].map(([name, flows]) => {
      const faults = flows.map((flow) => faultOf(flow, deaths));
      const count = (fault: string): number => faults.filter((each) => each === fault).length;
      const good = flows.filter(({ error }) => error === null);
      const figures: GroupFigures = {
        flows: flows.length,
        answers: flows.reduce((sum, { answers }) => sum + answers, 0),
        slowest_ms: Math.round(good.reduce((most, { slowest_ms }) => Math.max(most, slowest_ms), 0)),
        errors_living: count("living"),
        errors_dead: count("dead"),
        errors_unknown: count("unknown"),
      };
      return [name, figures];
    }),
  );
}

/** An answer that took this long lost a packet on its way: TCP sends again after a second at first. */
const SLOW_MS = 500;

/**
 * How long new connections could not be made after a moment: from then until the last one that failed or was slow was
 * opened; 0 when none was.
 */
export function outage_ms(flows: readonly Flow[], since_ms: number): number {
  const hurt = flows.filter(
    ({ opened_ms, slowest_ms, error }) => opened_ms >= since_ms && (error !== null || slowest_ms >= SLOW_MS),
  );
  return hurt.reduce((most, { opened_ms }) => Math.max(most, opened_ms - since_ms), 0);
}
