/**
 * Tells the workers of a node what the order book says, and goes on until each of them has taken it: all of it each time,
 * in lines of bounded length. What changes while a worker is being told is told in the next round, so a worker that is slow
 * gets the last word and not all of them.
 */
import { ORDERS_PER_LINE, ORDERS_RETRY_MS } from "../conf/limits.ts";
import type { ServerOrder } from "../conf/server-orders.ts";

/** Hands one part to a worker; false when it has not taken it in time. */
export type TellPart = (orders: readonly ServerOrder[], isLast: boolean) => Promise<boolean>;

interface Listener {
  readonly tell: TellPart;
  isBehind: boolean;
  isGone: boolean;
  /** Settles when the round under way is over, well or not. */
  round: Promise<boolean> | undefined;
  retry: NodeJS.Timeout | undefined;
}

export interface Telling {
  /** A worker is there, and is told at once; returns what is to be called when it is gone. */
  readonly join: (tell: TellPart) => () => void;
  /** Something has changed. Resolves with how many workers know it, and how many there are. */
  readonly changed: () => Promise<{ told: number; workers: number }>;
}

/** `orders` is asked for each round. */
export function createTelling(orders: () => readonly ServerOrder[]): Telling {
  const listeners = new Set<Listener>();

  const round = async (listener: Listener): Promise<boolean> => {
    const all = orders();
    for (let at = 0; at === 0 || at < all.length; at += ORDERS_PER_LINE) {
      const isLast = at + ORDERS_PER_LINE >= all.length;
      if (!(await listener.tell(all.slice(at, at + ORDERS_PER_LINE), isLast))) return false;
    }
    return true;
  };
  const rounds = async (listener: Listener): Promise<boolean> => {
    let isTold = true;
    while (listener.isBehind && isTold && !listener.isGone) {
      listener.isBehind = false;
      isTold = await round(listener);
    }
    listener.round = undefined;
    if (!isTold && !listener.isGone) {
      listener.isBehind = true;
      listener.retry = setTimeout(() => void update(listener), ORDERS_RETRY_MS).unref();
    }
    return isTold && !listener.isGone;
  };
  const update = (listener: Listener): Promise<boolean> => {
    clearTimeout(listener.retry);
    listener.isBehind = true;
    listener.round ??= rounds(listener);
    return listener.round;
  };

  return {
    join: (tell) => {
      const listener: Listener = { tell, isBehind: true, isGone: false, round: undefined, retry: undefined };
      listeners.add(listener);
      void update(listener);
      return () => {
        listener.isGone = true;
        clearTimeout(listener.retry);
        listeners.delete(listener);
      };
    },
    changed: async () => {
      const told = await Promise.all([...listeners].map(update));
      return { told: told.filter(Boolean).length, workers: told.length };
    },
  };
}
