/**
 * How often clients have asked, in memory of a fixed size that a node's workers share. Pure but for that memory: the time is
 * an input.
 *
 * The generic cell rate algorithm (ITU-T I.371): of each client and limit only one time is kept, at which all that it has asked
 * would have been due at an even rate. A client may be ahead of that by the whole of a period's requests, so it may ask them all
 * at once, and then at the even rate.
 *
 * Entries are found by a keyed tag of 64 bits, so nobody can choose to share one. They stand in sets of eight; in a full set the
 * one goes that is closest to being forgotten anyway. Two workers that write one entry at the same moment may count
 * a request too few.
 */
import { sipTag } from "../../net/siphash.ts";
import type { IpAddress } from "../../conf/address.ts";
import type { RateLimit } from "./rules.ts";

const WAYS = 8;
const ENTRY_BYTES = 16;

export interface RateTable {
  /** Each entry's tag in two words, then its time as a double, in ms. */
  readonly tags: Int32Array;
  readonly times: Float64Array;
  readonly sets: number;
  readonly key: DataView;
}

/** A table in `memory`, whose size is 128 bytes times a power of two. `key`: 16 bytes. */
export function createRateTable(memory: ArrayBuffer, key: Uint8Array): RateTable {
  return {
    tags: new Int32Array(memory),
    times: new Float64Array(memory),
    sets: memory.byteLength / (WAYS * ENTRY_BYTES),
    key: new DataView(key.buffer, key.byteOffset, key.byteLength),
  };
}

const message = new DataView(new ArrayBuffer(24));
const MESSAGE_BYTES = 13;
const TAG_AT = 16;

/** A client is an IPv4 address, or the half of an IPv6 address that names a network: a host may have all of the other half. */
function tagClient({ key }: RateTable, limit: number, client: IpAddress): void {
  for (let i = 0; i < 8; i++) message.setUint8(i, client.bytes[i]!);
  message.setUint8(8, client.family);
  message.setUint32(9, limit);
  sipTag(key, message, MESSAGE_BYTES, TAG_AT);
}

/** The entry of the tagged client, or the one that it takes over. */
function entryOf({ tags, times, sets }: RateTable, low: number, high: number): number {
  const first = (low & (sets - 1)) * WAYS;
  let oldest = first;
  for (let entry = first; entry < first + WAYS; entry++) {
    if (tags[entry * 4] === low && tags[entry * 4 + 1] === high) return entry;
    if (times[entry * 2 + 1]! < times[oldest * 2 + 1]!) oldest = entry;
  }
  tags[oldest * 4] = low;
  tags[oldest * 4 + 1] = high;
  times[oldest * 2 + 1] = 0;
  return oldest;
}

/**
 * Counts a request of a client for a limit. Returns 0 when it is within, else the time in ms until
 * the next one is; what is refused does not count. `now_ms` is of the clock that all workers share.
 */
export function takeFromRate(
  table: RateTable,
  { id, requests, period_ms }: RateLimit,
  client: IpAddress,
  now_ms: number,
): number {
  tagClient(table, id, client);
  const entry = entryOf(table, message.getInt32(TAG_AT, true), message.getInt32(TAG_AT + 4, true));
  const kept_ms = table.times[entry * 2 + 1]!;
  const interval_ms = period_ms / requests;
  // Beyond a period ahead is what another run of the machine has left.
  const due_ms = kept_ms > now_ms && kept_ms <= now_ms + period_ms ? kept_ms : now_ms;
  const wait_ms = due_ms + interval_ms - period_ms - now_ms;
  // Sums of intervals may differ from the period in their last digits.
  if (wait_ms > interval_ms * 1e-6) return wait_ms;
  table.times[entry * 2 + 1] = due_ms + interval_ms;
  return 0;
}
