/**
 * What a process tells the thread that sends its heartbeats: the news in them, how often each peer is asked, and to ask
 * all of them now. Plain memory: the thread sleeps on it, so that an order is carried out at once.
 */
import { NOBODY } from "../conf/limits.ts";
import { HEARTBEAT_KEY_BYTES } from "./heartbeat.ts";

/** What a process's questions tell of its node. */
export interface HeartbeatNews {
  /** The latest epoch that it knows of. */
  readonly epoch: number;
  /** It schedules in that epoch, and its lease lasts. */
  readonly isLeased: boolean;
  /** The node that is asked to take over. */
  readonly offer: number | undefined;
}
export interface HeartbeatOrders {
  readonly shared: SharedArrayBuffer;
  /** Goes with the next questions: `askNow` sends some. */
  readonly setNews: (news: Pick<HeartbeatNews, "epoch" | "isLeased">) => void;
  /** The node that is asked to take over; undefined: none. Goes with the next questions, too. */
  readonly setOffer: (number: number | undefined) => void;
  /** By the peer's place. Half an hour at most. */
  readonly setPace: (index: number, interval_ms: number) => void;
  /** All peers are asked at once. */
  readonly askNow: () => void;
  /** Questions are asked under this key from now on. */
  readonly setKey: (key: Uint8Array) => void;
  readonly stop: () => void;

  /** For the thread. */
  readonly news: () => HeartbeatNews;
  readonly interval_ns: (index: number) => number;
  readonly isStopped: () => boolean;
  /** Counts the calls of `askNow`. */
  readonly asked: () => number;
  /** Brings the key to what was said last; one that is just being written is left for the next time. */
  readonly takeKey: (key: Uint8Array) => void;
  /** Counts the orders that don't wait for the next question. To be read before the orders are. */
  readonly orders: () => number;
  /** Sleeps until there are other orders than those counted, or the time is over. */
  readonly sleep: (orders: number, time_ns: number) => void;
}

/** Places of 32-bit words; the news are the 64-bit word before them. */
const ORDERS = 2;
const ASKED = 3;
const STOPPED = 4;
/** How often the key was set: odd while it is being written; 0: never. */
const KEY_TURN = 5;
const KEY = 6;
const KEY_WORDS = HEARTBEAT_KEY_BYTES / 4;
const PACES = KEY + KEY_WORDS;
/** What a word holds: half an hour. */
const LONGEST_US = 0x7fff_ffff;
/** The news: epoch, then whether there is a lease, then the number that the offer goes to. */
const LEASED_BIT = 32n;
const OFFER_BITS = 40n;

/** Makes the memory for so many peers, or a view of the one that the other side has made. */
export function heartbeatOrders(peers: number, shared?: SharedArrayBuffer): HeartbeatOrders {
  const memory = shared ?? new SharedArrayBuffer((PACES + peers) * 4);
  const words = new Int32Array(memory);
  // One word: nobody reads an epoch with another one's lease or offer.
  const news = new BigUint64Array(memory, 0, 1);
  let keyTurn = 0;
  const wake = (): void => {
    Atomics.add(words, ORDERS, 1);
    Atomics.notify(words, ORDERS);
  };
  if (shared === undefined) Atomics.store(news, 0, wordOf({ epoch: 0, isLeased: false, offer: undefined }));
  return {
    shared: memory,
    setNews: (change) => void Atomics.store(news, 0, wordOf({ ...newsOf(Atomics.load(news, 0)), ...change })),
    setOffer: (offer) => void Atomics.store(news, 0, wordOf({ ...newsOf(Atomics.load(news, 0)), offer })),
    setPace: (index, interval_ms) => {
      const interval_us = Math.min(Math.round(interval_ms * 1000), LONGEST_US);
      if (Atomics.exchange(words, PACES + index, interval_us) !== interval_us) wake();
    },
    askNow: () => {
      Atomics.add(words, ASKED, 1);
      wake();
    },
    setKey: (key) => {
      Atomics.add(words, KEY_TURN, 1);
      for (let i = 0; i < KEY_WORDS; i++) Atomics.store(words, KEY + i, keyWord(key, i));
      Atomics.add(words, KEY_TURN, 1);
    },
    stop: () => {
      Atomics.store(words, STOPPED, 1);
      wake();
    },
    news: () => newsOf(Atomics.load(news, 0)),
    interval_ns: (index) => Atomics.load(words, PACES + index) * 1000,
    isStopped: () => Atomics.load(words, STOPPED) !== 0,
    asked: () => Atomics.load(words, ASKED),
    takeKey: (key) => {
      const turn = Atomics.load(words, KEY_TURN);
      if (turn === keyTurn || turn % 2 === 1) return;
      const read = Array.from({ length: KEY_WORDS }, (_, i) => Atomics.load(words, KEY + i));
      if (Atomics.load(words, KEY_TURN) !== turn) return;
      keyTurn = turn;
      const view = new DataView(key.buffer, key.byteOffset, key.length);
      read.forEach((word, i) => view.setInt32(i * 4, word, true));
    },
    orders: () => Atomics.load(words, ORDERS),
    sleep: (orders, time_ns) => void Atomics.wait(words, ORDERS, orders, Math.max(0, time_ns / 1e6)),
  };
}

const keyWord = (key: Uint8Array, i: number): number =>
  new DataView(key.buffer, key.byteOffset, key.length).getInt32(i * 4, true);

function wordOf({ epoch, isLeased, offer }: HeartbeatNews): bigint {
  const number = BigInt(offer ?? NOBODY);
  return BigInt(epoch) | (isLeased ? 1n << LEASED_BIT : 0n) | (number << OFFER_BITS);
}

function newsOf(word: bigint): HeartbeatNews {
  const number = Number((word >> OFFER_BITS) & 0xffn);
  return {
    epoch: Number(word & 0xffff_ffffn),
    isLeased: ((word >> LEASED_BIT) & 1n) === 1n,
    offer: number === NOBODY ? undefined : number,
  };
}
