/** The elector's times in ns, as its clock counts. */
import { LEASE_MS, PEER_HEARTBEAT_MS } from "../conf/limits.ts";

export const MS = 1_000_000;
/**
 * After two schedulers have met, the one that goes on waits so long before it announces the VIPs to the other one's clients:
 * by then its table knows which node has their connections, or is just being told and is waited for a while longer.
 */
export const MERGE_NS = 1000 * MS;
export const MERGE_MOST_NS = 5000 * MS;
export const LEASE_NS = LEASE_MS * MS;
export const PEER_HEARTBEAT_NS = PEER_HEARTBEAT_MS * MS;
/** How long a node that knows nothing looks round before it takes for dead whoever it has not heard. */
export const LOOK_NS = 300 * MS;
/** If questions can't be sent at all, a node does not look round for ever. */
export const LOOK_AT_MOST_NS = 2000 * MS;
/** The first candidate claims at once, each further one waits so much longer: time enough to hear of the first. */
export const PLACE_NS = 30 * MS;
