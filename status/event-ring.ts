/**
 * The last events of a node. Bounded: the oldest one makes room. The same event again within a short time is counted and not
 * repeated (each worker finds out by itself that a web server is gone). Pure.
 */
import type { NodeEvent } from "../conf/messages.ts";

export interface RingEvent extends NodeEvent {
  /** Counts from 1 in each life of the status process. */
  readonly sequence: number;
  /** How often it came, and when last. */
  readonly count: number;
  readonly last_at_ms: number;
}

export interface EventRing {
  readonly add: (event: NodeEvent) => void;
  /** Those after a sequence number, the oldest first. */
  readonly since: (sequence: number) => RingEvent[];
}

const SAME_WITHIN_MS = 5000;
/** So many of the last ones are compared. */
const LOOK_BACK = 64;

/** A ring that holds up to `size` events. */
export function eventRing(size: number): EventRing {
  let events: RingEvent[] = [];
  let last = 0;
  return {
    add: (event) => {
      const at = events.findLastIndex(
        (other, index) => index >= events.length - LOOK_BACK && isSame(other, event),
      );
      const same = events[at];
      if (same !== undefined) {
        events[at] = { ...same, count: same.count + 1, last_at_ms: event.at_ms };
        return;
      }
      last++;
      events.push({ ...event, sequence: last, count: 1, last_at_ms: event.at_ms });
      if (events.length > size) events = events.slice(-size);
    },
    since: (sequence) => events.filter((event) => event.sequence > sequence),
  };
}

function isSame(other: RingEvent, event: NodeEvent): boolean {
  if (other.kind !== event.kind || other.process !== event.process) return false;
  const age_ms = event.at_ms - other.at_ms;
  return age_ms >= 0 && age_ms < SAME_WITHIN_MS && sameFacts(other.facts, event.facts);
}

function sameFacts(one: NodeEvent["facts"], other: NodeEvent["facts"]): boolean {
  const keys = Object.keys(one);
  return keys.length === Object.keys(other).length && keys.every((key) => one[key] === other[key]);
}
