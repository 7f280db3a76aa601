/**
 * What the thread that sends heartbeats shares with the rest of its process: how often it has sent, and when each peer
 * was last asked. Plain memory, so that neither side waits for the other.
 */
/** The last heartbeats to a peer that can be read back; one more is kept, which the sender may be writing. */
export const SENT_KEPT = 31;
const RING = SENT_KEPT + 1;

/** When a peer was asked on an interface, oldest first: the first `count` places hold. ns of CLOCK_MONOTONIC. */
export interface SentTimes {
  count: number;
  /** As the heartbeat says it, and as the answer gives it back. */
  readonly sent_ns: Float64Array;
  /** When the kernel had taken it. */
  readonly handed_ns: Float64Array;
}
export const newSentTimes = (): SentTimes => ({
  count: 0,
  sent_ns: new Float64Array(SENT_KEPT),
  handed_ns: new Float64Array(SENT_KEPT),
});

export interface HeartbeatCounts {
  readonly sent: number;
  /** Such as the kernel did not take (ENOBUFS, ENETDOWN). */
  readonly failed: number;
}

export interface HeartbeatMemory {
  readonly shared: SharedArrayBuffer;
  counts(): HeartbeatCounts;
  countSent(): void;
  countFailed(): void;
  /** One thread alone may note. A link is a peer on an interface; the two sides number them alike. */
  note(link: number, sent_ns: number, handed_ns: number): void;
  read(link: number, into: SentTimes): void;
}

const SENT = 0;
const FAILED = 1;
const HEADER_WORDS = 2;

/** Makes the memory for so many links, or a view of the one that the other side has made. */
export function heartbeatMemory(links: number, shared?: SharedArrayBuffer): HeartbeatMemory {
  const timesAt = HEADER_WORDS * 8 + Math.ceil(links / 2) * 8;
  const memory = shared ?? new SharedArrayBuffer(timesAt + links * RING * 16);
  const header = new Float64Array(memory, 0, HEADER_WORDS);
  // Written last and read first, atomically: who sees a head sees the times before it.
  const heads = new Int32Array(memory, HEADER_WORDS * 8, links);
  const times = new Float64Array(memory, timesAt, links * RING * 2);
  const place = (link: number, index: number): number => (link * RING + (index % RING)) * 2;
  return {
    shared: memory,
    counts: () => ({ sent: header[SENT]!, failed: header[FAILED]! }),
    countSent: () => void header[SENT]!++,
    countFailed: () => void header[FAILED]!++,
    note: (link, sent_ns, handed_ns) => {
      const head = heads[link]!;
      times[place(link, head)] = sent_ns;
      times[place(link, head) + 1] = handed_ns;
      Atomics.store(heads, link, nextHead(head));
    },
    read: (link, into) => {
      const head = Atomics.load(heads, link);
      into.count = Math.min(head, SENT_KEPT);
      for (let i = 0; i < into.count; i++) {
        const at = place(link, head - into.count + i);
        into.sent_ns[i] = times[at]!;
        into.handed_ns[i] = times[at + 1]!;
      }
    },
  };
}

/** Heads stay below 2^31 for ever: past the half they go back by whole rings. */
const HEAD_LIMIT = 0x4000_0000;
const nextHead = (head: number): number => (head + 1 < HEAD_LIMIT ? head + 1 : RING + ((head + 1) % RING));
