/**
 * What the elector goes by: its settings once, and what the edge has read at each tick. All times are CLOCK_MONOTONIC of
 * this machine in ns; nothing here is compared with another machine's clock.
 */
import type { SentTimes } from "../net/heartbeat-memory.ts";

export interface ElectorSettings {
  /** This node's. */
  readonly number: number;
  /** All nodes of the array in the configuration's order, this one among them. */
  readonly nodes: readonly { readonly number: number; readonly priority: number }[];
  /** config.failover. */
  readonly heartbeat_ms: number;
  readonly dead_after_ms: number;
  readonly preempt: boolean;
  readonly preempt_delay_s: number;
  /**
   * As it stood on disk when this process began: an earlier life may have used all counters up to here, whatever the
   * page says. 0 when there is no such file.
   */
  readonly floorCounter: number;
}

/** The lease page as it is. */
export interface PageFacts {
  readonly until_ns: number;
  readonly epoch: number;
  readonly offered: number;
}

/** One peer on one segment: its row of channel 0 on the peers page, and when it was asked. */
export interface PeerRow {
  readonly sent: SentTimes;
  /** Without a MAC address it can't be asked. */
  readonly knowsMac: boolean;
  readonly answered_ns: number;
  readonly epoch: number;
  /** HEARTBEAT_... bits of its latest answer. */
  readonly flags: number;
  readonly table_version: number;
}
/** The elector keeps nothing of it, so the same objects may be filled again for each tick. */
export interface PeerFacts {
  readonly number: number;
  /** By slot. */
  readonly rows: readonly PeerRow[];
}

/** What is known of this node itself. */
export interface OwnFacts {
  /** control.table_version: 0 while the table is not whole, or not of the page's epoch. */
  readonly table_version: number;
  /** Every interface of the configuration is up and has a carrier. */
  readonly hasCarrier: boolean;
  /** The XDP program is attached to all of them. */
  readonly hasProgram: boolean;
  /** control.turned_ns: the scheduler process's last turn. */
  readonly schedulerTurned_ns: number;
  /** control.hand_over_to: whom an operator wants to schedule. Only this node's own wish counts, while it schedules. */
  readonly handOverTo: number | undefined;
  /** control.is_merging: its table does not know all connections yet of nodes that another one has scheduled. */
  readonly isMerging: boolean;
}

/** Somebody else has said by ARP or neighbour advertisement that a VIP is his. */
export type VipClaim =
  | { readonly kind: "member"; readonly number: number }
  | { readonly kind: "foreign"; readonly mac: string };

export interface ElectorInput {
  /** Taken before everything else is read: what comes in between is then in the others' favour. */
  readonly now_ns: number;
  readonly page: PageFacts;
  /** All nodes but this one. */
  readonly peers: readonly PeerFacts[];
  readonly own: OwnFacts;
  /** By number: when the latest ICMP echo request that was answered had been sent. None for who has not answered. */
  readonly echoes: ReadonlyMap<number, number>;
  /** Since the tick before. */
  readonly vipClaims: readonly VipClaim[];
  /** What the last finished write of `reserveCounter` put on disk; `floorCounter` before the first. */
  readonly reservedCounter: number;
  /** The process has been asked to end, and waits for `canStop`. */
  readonly isStopping: boolean;
}
