/** What nodes tell each other for the dashboard, and what its page is told. The page imports these types, too, so they stand alone. */

/** Since a life of the node's status process began. Counters only grow, but for a new life. */
export interface Counts {
  readonly accepted: number;
  readonly requests: number;
  /** Responses of the class 5xx. */
  readonly errors: number;
  readonly bytes_in: number;
  readonly bytes_out: number;
}
export interface VserverSlice extends Counts {
  readonly name: string;
  readonly open: number;
}
export interface WebServerSlice {
  readonly pool: string;
  readonly id: string;
  readonly address: string;
  readonly port: number;
  readonly state: string;
  readonly reason: string;
  readonly is_up: boolean;
  readonly weight: number;
  readonly active: number;
  readonly waiting: number;
  readonly requests: number;
  readonly errors: number;
  readonly failures: number;
  readonly time_sum_us: number;
  readonly time_count: number;
}
/** An event of a node; see conf/messages.ts. */
export interface EventSlice {
  readonly sequence: number;
  readonly at_ms: number;
  readonly kind: string;
  readonly severity: string;
  readonly process: string;
  readonly text: string;
  readonly facts: Readonly<Record<string, string | number>>;
}
export interface Traffic {
  readonly connections: number;
  readonly packets: number;
  readonly bytes: number;
}
/** How a node stands, as the scheduler process of some node holds it. */
export interface Standing {
  readonly number: number;
  readonly state: string;
  readonly reason: string;
  readonly buckets: number;
  readonly effective_weight: number | null;
  readonly table_version: number | null;
}
/** What a node knows of the whole array. */
export interface ArraySlice {
  readonly is_scheduling: boolean;
  readonly epoch: number;
  readonly table_version: number;
  readonly table_size: number;
  readonly balance: string;
  readonly sweep_age_ms: number | null;
  readonly sweep_took_ms: number | null;
  readonly nodes: readonly Standing[];
  /** What went to each node, and for each vserver, in the last second; of the scheduler alone. */
  readonly to_nodes: Readonly<Record<string, Traffic>>;
  readonly to_vservers: Readonly<Record<string, Traffic>>;
}
/** What a node tells of itself. */
export interface NodeSlice {
  readonly number: number;
  readonly version: string;
  /** Of its status process, whose life has this name. */
  readonly uptime_s: number;
  readonly life: string;
  /** Who schedules, as it knows; null while nobody does. */
  readonly scheduler: number | null;
  readonly workers: number;
  readonly workers_accepting: number;
  readonly memory_bytes: number;
  readonly open: number;
  readonly counts: Counts;
  readonly time_sum_us: number;
  readonly time_count: number;
  readonly vservers: readonly VserverSlice[];
  readonly web_servers: readonly WebServerSlice[];
  /** Vservers and web servers for which there was no room. */
  readonly left_out: number;
  readonly events: readonly EventSlice[];
  /** Left out by a node that does not schedule when another one asks. */
  readonly array: ArraySlice | null;
}

/** Per second, over the time since the last picture. */
export interface Rates {
  readonly accepted: number;
  readonly requests: number;
  readonly errors: number;
  readonly bytes_in: number;
  readonly bytes_out: number;
}
export interface NodePicture {
  readonly number: number;
  readonly name: string;
  readonly address: string;
  readonly is_scheduler: boolean;
  readonly state: string;
  readonly reason: string;
  readonly weight: number;
  readonly effective_weight: number | null;
  readonly buckets: number | null;
  readonly table_version: number | null;
  /** Empty when it has told of itself; else why not, and what follows is null. */
  readonly silence: string;
  readonly open: number | null;
  readonly rates: Rates | null;
  /** Mean time to a response's head, of the responses since the last picture. */
  readonly latency_ms: number | null;
  readonly workers: number | null;
  readonly workers_accepting: number | null;
  readonly memory_bytes: number | null;
  readonly version: string | null;
}
export interface VserverPicture {
  readonly name: string;
  readonly protocol: string;
  readonly vips: readonly string[];
  readonly ports: readonly number[];
  readonly target: string;
  readonly open: number;
  /** By what the workers count, null for what isn't proxied; and by what the scheduler's kernel counts. */
  readonly rates: Rates | null;
  readonly flows: Traffic | null;
}
export interface WebServerPicture {
  readonly pool: string;
  readonly id: string;
  readonly address: string;
  readonly port: number;
  readonly state: string;
  readonly reason: string;
  /** Nodes that hold it to be up, of those that have told. */
  readonly up_for: number;
  readonly seen_by: number;
  readonly weight: number;
  readonly active: number;
  readonly waiting: number;
  readonly requests: number;
  readonly errors: number;
  readonly failures: number;
  readonly latency_ms: number | null;
}
/** The array at a moment. */
export interface ArrayPicture {
  readonly array: string;
  /** The node that shows it. */
  readonly shown_by: string;
  readonly at_ms: number;
  readonly scheduler: number | null;
  readonly epoch: string;
  readonly table_version: number;
  readonly table_size: number;
  readonly balance: string;
  readonly sweep_age_ms: number | null;
  readonly sweep_took_ms: number | null;
  readonly nodes: readonly NodePicture[];
  readonly vservers: readonly VserverPicture[];
  readonly web_servers: readonly WebServerPicture[];
  readonly left_out: number;
}
export interface ArrayEvent extends EventSlice {
  readonly node: string;
}
/** The map as a whole: a byte for each cell, the number of its node, 255 for nobody; in base64. */
export interface WholeMap {
  readonly stretch: number;
  readonly cells: string;
}
/** What has changed in it: cell, node, cell, node, … */
export type MapChanges = readonly number[];
