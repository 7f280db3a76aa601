/**
 * Requests that wait for a web server to have room: first come, first served within a client, and one client after the
 * other, so that nobody who asks a hundred times at once makes others wait a hundred turns. Pure.
 *
 * Each client has a list, the clients with one stand in a ring, and whoever is served goes to the ring's end. Everything
 * takes constant time: a request that leaves knows its neighbours.
 */

/** A request in the queue; the queue's own but for what is readonly. */
export interface Waiting<T> {
  readonly value: T;
  readonly since_ms: number;
  readonly line: Line<T>;
  next: Waiting<T> | undefined;
  previous: Waiting<T> | undefined;
  isQueued: boolean;
}

/** One client's requests, in the order in which they came. */
interface Line<T> {
  readonly client: string;
  first: Waiting<T> | undefined;
  last: Waiting<T> | undefined;
  /** The neighbours in the ring of clients; itself while it is alone. */
  next: Line<T> | undefined;
  previous: Line<T> | undefined;
}

export interface FairQueue<T> {
  readonly lines: Map<string, Line<T>>;
  /** The client whose turn it is. */
  turn: Line<T> | undefined;
  count: number;
}

export const createFairQueue = <T>(): FairQueue<T> => ({ lines: new Map(), turn: undefined, count: 0 });

/** Puts a request at its client's end, and a client that had none at the ring's. */
export function enqueue<T>(queue: FairQueue<T>, client: string, value: T, now_ms: number): Waiting<T> {
  const line = queue.lines.get(client) ?? addLine(queue, client);
  const { last } = line;
  const entry: Waiting<T> = {
    value,
    since_ms: now_ms,
    line,
    next: undefined,
    previous: last,
    isQueued: true,
  };
  if (last === undefined) line.first = entry;
  else last.next = entry;
  line.last = entry;
  queue.count++;
  return entry;
}

/** Who is served next; undefined when nobody waits. */
export const peek = <T>(queue: FairQueue<T>): Waiting<T> | undefined => queue.turn?.first;

/** Takes out who is served next, and gives the turn to the client after it. */
export function dequeue<T>(queue: FairQueue<T>): Waiting<T> | undefined {
  const { turn } = queue;
  const entry = turn?.first;
  if (turn === undefined || entry === undefined) return undefined;
  queue.turn = turn.next;
  leave(queue, entry);
  return entry;
}

/** Takes a request out, wherever it stands; harmless when it is out already. */
export function leave<T>(queue: FairQueue<T>, entry: Waiting<T>): void {
  if (!entry.isQueued) return;
  entry.isQueued = false;
  const { line, next, previous } = entry;
  if (previous === undefined) line.first = next;
  else previous.next = next;
  if (next === undefined) line.last = previous;
  else next.previous = previous;
  queue.count--;
  if (line.first === undefined) removeLine(queue, line);
}

function addLine<T>(queue: FairQueue<T>, client: string): Line<T> {
  const { turn } = queue;
  const line: Line<T> = {
    client,
    first: undefined,
    last: undefined,
    next: turn,
    previous: turn?.previous,
  };
  (line.next ??= line).previous = line;
  (line.previous ??= line).next = line;
  queue.turn ??= line;
  queue.lines.set(client, line);
  return line;
}

function removeLine<T>(queue: FairQueue<T>, line: Line<T>): void {
  queue.lines.delete(line.client);
  if (line.next === line) {
    queue.turn = undefined;
    return;
  }
  line.previous!.next = line.next;
  line.next!.previous = line.previous;
  if (queue.turn === line) queue.turn = line.next;
}
