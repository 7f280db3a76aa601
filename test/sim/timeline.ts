/** A clock made of nothing: deeds are done in the order of their times, and of equal ones in the order of their coming. */
export interface Timeline {
  readonly now_ns: number;
  at(time_ns: number, deed: () => void): void;
  in(delay_ns: number, deed: () => void): void;
  /** Does all deeds up to a time. */
  run(until_ns: number): void;
}

interface Entry {
  readonly time_ns: number;
  readonly order: number;
  readonly deed: () => void;
}

const isBefore = (one: Entry, other: Entry): boolean =>
  one.time_ns < other.time_ns || (one.time_ns === other.time_ns && one.order < other.order);

/** Begins at 0. */
export function createTimeline(): Timeline {
  const heap: Entry[] = [];
  let now_ns = 0;
  let order = 0;
  const at = (time_ns: number, deed: () => void): void => {
    rise(heap, { time_ns: Math.max(time_ns, now_ns), order: order++, deed });
  };
  return {
    get now_ns() {
      return now_ns;
    },
    at,
    in: (delay_ns, deed) => at(now_ns + delay_ns, deed),
    run: (until_ns) => {
      for (let first = heap[0]; first !== undefined && first.time_ns <= until_ns; first = heap[0]) {
        const last = heap.pop()!;
        if (last !== first) sink(heap, last);
        now_ns = first.time_ns;
        first.deed();
      }
      now_ns = until_ns;
    },
  };
}

/** Puts an entry into its place, from the end up. */
function rise(heap: Entry[], entry: Entry): void {
  let at = heap.length;
  while (at > 0) {
    const above = (at - 1) >> 1;
    if (!isBefore(entry, heap[above]!)) break;
    heap[at] = heap[above]!;
    at = above;
  }
  heap[at] = entry;
}

/** Puts an entry into its place, from the top down; what stood there is gone. */
function sink(heap: Entry[], entry: Entry): void {
  let at = 0;
  for (;;) {
    let least = at * 2 + 1;
    if (least >= heap.length) break;
    if (least + 1 < heap.length && isBefore(heap[least + 1]!, heap[least]!)) least++;
    if (!isBefore(heap[least]!, entry)) break;
    heap[at] = heap[least]!;
    at = least;
  }
  heap[at] = entry;
}
