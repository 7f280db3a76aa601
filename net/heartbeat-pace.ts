/**
 * When each peer is asked next. Pure: times and intervals in, the peers that are due out. A question that went out late
 * is made up for by the next one, but not by two on each other's heels.
 */
export interface Pace {
  /** Places of the peers that are due now, or of all; they count as asked. `interval_ns` is by place. */
  take(now_ns: number, interval_ns: (index: number) => number, isAll: boolean): number[];
  /** When the next one is due; Infinity without peers. */
  next_ns(): number;
}

/** All are due at first. */
export function createPace(peers: number): Pace {
  const asked_ns = new Float64Array(peers).fill(-Infinity);
  const due_ns = new Float64Array(peers).fill(-Infinity);
  const intervals_ns = new Float64Array(peers);
  return {
    take: (now_ns, interval_ns, isAll) => {
      const taken: number[] = [];
      for (let i = 0; i < peers; i++) {
        const interval = interval_ns(i);
        // One that is to be asked more often does not wait out its former interval.
        if (interval < intervals_ns[i]!) due_ns[i] = Math.min(due_ns[i]!, asked_ns[i]! + interval);
        intervals_ns[i] = interval;
        if (!isAll && due_ns[i]! > now_ns) continue;
        const isInTurn = !isAll && asked_ns[i] !== -Infinity;
        due_ns[i] = isInTurn ? Math.max(due_ns[i]! + interval, now_ns + interval / 2) : now_ns + interval;
        asked_ns[i] = now_ns;
        taken.push(i);
      }
      return taken;
    },
    next_ns: () => due_ns.reduce((least, due) => Math.min(least, due), Infinity),
  };
}
