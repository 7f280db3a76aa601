/**
 * Every bound of the product stands here, with its unit in its name. What operators may tune is in the
 * schema (its defaults and ranges come from here); the rest is fixed.
 */

// The array.
export const MAX_NODES = 64;
/** Node numbers are one byte in a bucket; 255 means "nobody". */
export const MAX_NODE_NUMBER = 254;
export const NOBODY = 255;
export const MAX_VSERVERS = 1024;
export const MAX_VIPS_PER_VSERVER = 32;
export const MAX_PORTS_PER_VSERVER = 64;
export const MAX_POOLS = 1024;
export const MAX_SERVERS_PER_POOL = 256;
export const MAX_CERTIFICATES_PER_VSERVER = 256;
export const MAX_WEIGHT = 256;
export const MIN_TABLE_SIZE = 256;
export const MAX_TABLE_SIZE = 1_048_576;
export const MAX_CONFIG_BYTES = 4_194_304;
export const MAX_CONFIG_ERRORS = 200;
export const ARRAY_KEY_BYTES = 32;

// Who answers for the VIP.
/** How long ARP and neighbour answers go on after the last renewal. */
export const LEASE_MS = 100;
export const LEASE_RENEWAL_MS = 20;
/** When the VIP is announced after a node has become the scheduler. */
export const ANNOUNCE_AT_MS = [0, 100, 1000, 3000];

// A worker (per process).
export const RECEIVE_BUFFER_BYTES = 65_536;
export const STAGE_BUFFER_BYTES = 262_144;
export const ACCEPTS_PER_TURN = 64;
export const EVENTS_PER_TURN = 512;
export const LISTEN_BACKLOG = 8192;
/** A peer that keeps sending after its answer is read and thrown away up to here (RFC 9112 9.6). */
export const LINGER_BYTES = 1_048_576;
export const TRAILER_BYTES = 8192;
export const CHUNK_LINE_BYTES = 256;
export const MAX_HEADER_FIELDS = 128;
/** Tries of one request on different web servers, or anew after a reused connection had closed. */
export const MAX_TRIES = 8;

// Control plane.
export const PUBLISH_LINE_BYTES = 8_388_608;
export const MONITOR_COMMAND_BYTES = 4096;
export const MONITOR_CONNECTIONS = 64;
export const RESTART_BACKOFF_MIN_MS = 100;
export const RESTART_BACKOFF_MAX_MS = 10_000;
