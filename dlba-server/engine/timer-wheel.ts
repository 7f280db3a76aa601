/**
 * Deadlines of many connections: a hashed wheel of doubly linked lists (Varghese and Lauck, 1987). Pure: time
 * comes in as a number of milliseconds.
 *
 * Almost every deadline is pushed back long before it passes, so pushing back only writes a number: the entry
 * stays in its slot and is moved when the wheel gets there. Measured on a busy keep-alive connection that is
 * one store per request instead of an unlink and a link.
 */

export interface Timed<E> {
  /** Milliseconds; Infinity while nothing is to happen. */
  deadline_ms: number;
  /** Tick at which the wheel looks at the entry; -1 while it is in no slot. The wheel's own. */
  slotTick: number;
  wheelNext: E | undefined;
  wheelPrevious: E | undefined;
}

const SLOTS = 1024;
export const TICK_MS = 10;

export interface TimerWheel<E extends Timed<E>> {
  readonly slots: (E | undefined)[];
  /** The last tick that was handled. */
  tick: number;
  /** No entry is looked at before this tick. */
  earliestTick: number;
  count: number;
}

export function createTimerWheel<E extends Timed<E>>(now_ms: number): TimerWheel<E> {
  return {
    slots: Array.from({ length: SLOTS }, () => undefined),
    tick: Math.floor(now_ms / TICK_MS),
    earliestTick: Infinity,
    count: 0,
  };
}

/** Sets or changes an entry's deadline. An entry with deadline Infinity leaves the wheel lazily. */
export function arm<E extends Timed<E>>(wheel: TimerWheel<E>, entry: E, deadline_ms: number): void {
  entry.deadline_ms = deadline_ms;
  if (deadline_ms === Infinity) return;
  const tick = Math.max(wheel.tick + 1, Math.ceil(deadline_ms / TICK_MS));
  if (entry.slotTick !== -1) {
    if (entry.slotTick <= tick) return;
    unlink(wheel, entry);
  }
  link(wheel, entry, Math.min(tick, wheel.tick + SLOTS - 1));
}

/** Takes an entry out; harmless when it is in no slot. */
export function disarm<E extends Timed<E>>(wheel: TimerWheel<E>, entry: E): void {
  entry.deadline_ms = Infinity;
  if (entry.slotTick !== -1) unlink(wheel, entry);
}

/** Calls `fire` for each entry whose deadline has passed; the entry is out of the wheel by then. */
export function advance<E extends Timed<E>>(
  wheel: TimerWheel<E>,
  now_ms: number,
  fire: (entry: E) => void,
): void {
  const target = Math.floor(now_ms / TICK_MS);
  if (target < wheel.earliestTick) {
    // Nothing is due in between; the clock only moves forward.
    if (target > wheel.tick) wheel.tick = target;
    return;
  }
  // After a long stall each slot is looked at once, not once per tick that was missed.
  const first = Math.max(wheel.tick + 1, target - SLOTS + 1);
  for (let tick = first; tick <= target; tick++) {
    wheel.tick = tick;
    fireSlot(wheel, tick, now_ms, fire);
  }
  wheel.tick = Math.max(wheel.tick, target);
  wheel.earliestTick = findEarliest(wheel);
}

function fireSlot<E extends Timed<E>>(
  wheel: TimerWheel<E>,
  tick: number,
  now_ms: number,
  fire: (entry: E) => void,
): void {
  let entry = wheel.slots[tick % SLOTS];
  while (entry !== undefined) {
    unlink(wheel, entry);
    if (entry.deadline_ms <= now_ms) fire(entry);
    else arm(wheel, entry, entry.deadline_ms);
    // `fire` may have taken any other entry out, so the list is read anew; what was re-armed went to later slots.
    entry = wheel.slots[tick % SLOTS];
  }
}

/** Milliseconds until `advance` has something to do; Infinity when the wheel is empty. */
export function untilNext_ms<E extends Timed<E>>(wheel: TimerWheel<E>, now_ms: number): number {
  return wheel.earliestTick === Infinity ? Infinity : Math.max(0, wheel.earliestTick * TICK_MS - now_ms);
}

function findEarliest<E extends Timed<E>>(wheel: TimerWheel<E>): number {
  if (wheel.count === 0) return Infinity;
  for (let tick = wheel.tick + 1; tick < wheel.tick + SLOTS; tick++) {
    if (wheel.slots[tick % SLOTS] !== undefined) return tick;
  }
  return Infinity;
}

function link<E extends Timed<E>>(wheel: TimerWheel<E>, entry: E, tick: number): void {
  const head = wheel.slots[tick % SLOTS];
  entry.slotTick = tick;
  entry.wheelPrevious = undefined;
  entry.wheelNext = head;
  if (head !== undefined) head.wheelPrevious = entry;
  wheel.slots[tick % SLOTS] = entry;
  wheel.count++;
  if (tick < wheel.earliestTick) wheel.earliestTick = tick;
}

function unlink<E extends Timed<E>>(wheel: TimerWheel<E>, entry: E): void {
  const { wheelPrevious, wheelNext } = entry;
  if (wheelPrevious === undefined) wheel.slots[entry.slotTick % SLOTS] = wheelNext;
  else wheelPrevious.wheelNext = wheelNext;
  if (wheelNext !== undefined) wheelNext.wheelPrevious = wheelPrevious;
  entry.wheelNext = undefined;
  entry.wheelPrevious = undefined;
  entry.slotTick = -1;
  wheel.count--;
}
