/**
 * Where a pool's requests wait while its web servers have as many connections as they may: one fair queue for those that
 * any web server will do for, and one for each web server that requests are bound to by their cookie. So a session whose
 * web server is busy waits for it without holding up those that could go elsewhere. Pure.
 */
import {
  createFairQueue,
  dequeue,
  enqueue,
  leave,
  peek,
  type FairQueue,
  type Waiting,
} from "./fair-queue.ts";

/** For a request that any web server may have. */
export const ANY = -1;

export interface WaitingRoom<T> {
  readonly most: number;
  readonly any: FairQueue<T>;
  /** By web server; made when the first request is bound to it. */
  readonly bound: (FairQueue<T> | undefined)[];
  count: number;
}

/** A request in the room. */
export interface Seat<T> {
  readonly entry: Waiting<T>;
  readonly queue: FairQueue<T>;
}

/** An empty room for at most `most` requests. */
export const createWaitingRoom = <T>(most: number): WaitingRoom<T> => ({
  most,
  any: createFairQueue(),
  bound: [],
  count: 0,
});

/** Whether a request has to wait although there is room: others wait for the same. */
export function mustWaitBehind<T>(
  { count, any, bound }: Pick<WaitingRoom<T>, "count" | "any" | "bound">,
  server: number,
): boolean {
  if (count === 0) return false;
  return any.count > 0 || (server !== ANY && (bound[server]?.count ?? 0) > 0);
}

/** Lets a request wait for a web server, or for any; undefined when the room is full. */
export function takeSeat<T>(
  room: WaitingRoom<T>,
  server: number,
  client: string,
  value: T,
  now_ms: number,
): Seat<T> | undefined {
  if (room.count >= room.most) return undefined;
  const queue = server === ANY ? room.any : (room.bound[server] ??= createFairQueue());
  room.count++;
  return { queue, entry: enqueue(queue, client, value, now_ms) };
}

/** A request waits no longer: its client is gone, or its time is up. Harmless when it was called already. */
export function leaveSeat<T>(room: WaitingRoom<T>, { queue, entry }: Seat<T>): void {
  if (!entry.isQueued) return;
  leave(queue, entry);
  room.count--;
}

/**
 * The request to be served now that this web server has room: of those bound to it and (if it takes any) of those that are
 * not, whoever's turn has come, the one that has waited longer. So neither starves the other.
 */
export function callNext<T>(room: WaitingRoom<T>, server: number, takesAny = true): T | undefined {
  const bound = room.bound[server];
  const one = bound === undefined ? undefined : peek(bound);
  const other = takesAny ? peek(room.any) : undefined;
  if (one === undefined && other === undefined) return undefined;
  const isBound = one !== undefined && (other === undefined || one.since_ms <= other.since_ms);
  const entry = dequeue(isBound ? bound! : room.any);
  if (entry === undefined) return undefined;
  room.count--;
  return entry.value;
}

/** Takes out all who are bound to a web server that can't be had any more: they have to choose another one. */
export function callBound<T>(room: WaitingRoom<T>, server: number): T[] {
  const queue = room.bound[server];
  return queue === undefined ? [] : emptied(room, queue);
}

/** Takes out all who would have any. */
export const callAny = <T>(room: WaitingRoom<T>): T[] => emptied(room, room.any);

function emptied<T>(room: WaitingRoom<T>, queue: FairQueue<T>): T[] {
  const called: T[] = [];
  for (let entry = dequeue(queue); entry !== undefined; entry = dequeue(queue)) {
    called.push(entry.value);
    room.count--;
  }
  return called;
}
