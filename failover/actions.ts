/**
 * What the edge has to do after a tick of the elector, in this order:
 *
 * 1. `raise`: `lease.raiseEpoch(from, to, former)`. If that fails and `lease.epoch() !== to`, the kernel was faster: nothing else
 *    of this tick is done or told, and the next tick sees why.
 * 2. `markDead`: clear that node's UP and REACHABLE on all slots.
 * 3. `until_ns`: `lease.setUntil`, always (0: this node does not answer).
 * 4. `stands`, `side`: `lease.tell`. `clearsOffer`: `lease.clearOffered`.
 * 5. `news`, `offerTo`, `paces_ms` (the same object as long as nothing changes): to the heartbeat sender.
 * 6. `askNow`: `askNow()`, after the news. `announce`: the VIPs on all segments.
 * 7. `wantsEcho`: an ICMP echo request to each of them, on every segment, every 10 ms as long as they stand here.
 * 8. `reserveCounter`: write it to disk without waiting for it, and give it back as `reservedCounter` once it is there.
 *    It comes again until then.
 * 9. `soon`: the next tick is due in a millisecond.
 * 10. `canStop`: a process that was asked to end may do so, after `setUntil(0n)`.
 */
export interface ElectorActions {
  /** `former`: whose scheduler's frames get a second chance from now on, those of `from` as a rule. */
  readonly raise: { readonly from: number; readonly to: number; readonly former: number } | undefined;
  readonly markDead: number | undefined;
  readonly until_ns: number;
  readonly stands: boolean;
  /** How many nodes follow this one, itself included, as it tells its peers; 0: it does not schedule. */
  readonly side: number;
  readonly clearsOffer: boolean;
  readonly news: { readonly epoch: number; readonly isLeased: boolean };
  readonly offerTo: number | undefined;
  /** How often each peer is to be asked, by number. */
  readonly paces_ms: ReadonlyMap<number, number>;
  readonly askNow: boolean;
  readonly announce: boolean;
  readonly soon: boolean;
  readonly wantsEcho: readonly number[];
  readonly reserveCounter: number | undefined;
  readonly canStop: boolean;
  /** For logs and `show events`. */
  readonly events: readonly ElectorEvent[];
}

export interface ElectorEvent {
  readonly kind:
    | "looks"
    | "follows"
    | "follows-again"
    | "contends"
    | "held"
    | "claims"
    | "resumes"
    | "yields"
    | "gives-up"
    | "stands"
    | "stands-not"
    | "offers"
    | "offer-ended"
    | "announces-again"
    | "foreign-claim";
  /** The epoch that it is about; 0: none. */
  readonly epoch: number;
  /** The other node that it is about. */
  readonly peer?: number | undefined;
  /** For people. */
  readonly reason?: string;
  readonly mac?: string;
}
