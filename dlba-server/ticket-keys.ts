/**
 * The ring of keys that session tickets are made and read with: the same on all nodes without a word between them, because
 * each key derives from the array key and the period of time that it is for. The present period's makes tickets; those of the
 * periods before and after it read them, too: what another node made whose clock is a little ahead, and what was made shortly
 * before a change. While the array key is being changed, tickets of both are read.
 */
import { type ArrayKey, deriveAlso, deriveKey } from "../conf/keys.ts";
import { TICKET_PERIOD_MS } from "../conf/limits.ts";
import { nativeMemory, type NativeMemory } from "../net/ffi.ts";
import { TICKET_KEYS_BYTES } from "../net/openssl.ts";

/** A ticket begins with the name of its key, as OpenSSL lays keys out. */
export const TICKET_NAME_BYTES = 16;

export interface TicketRing {
  /** Name, HMAC key and AES key of each period, at addresses that stay. */
  readonly newest: NativeMemory;
  readonly others: readonly NativeMemory[];
  /** How many of the others there are now. */
  otherCount: number;
  /** Until when, in milliseconds since 1970. */
  ends_ms: number;
}

/** The ring at a time (milliseconds since 1970). */
export function createTicketRing(arrayKey: ArrayKey, at_ms: number): TicketRing {
  const others = Array.from({ length: MOST_OTHERS }, newKeys);
  const ring: TicketRing = { newest: newKeys(), others, otherCount: 0, ends_ms: 0 };
  turnTicketRing(ring, arrayKey, at_ms);
  return ring;
}

/** The array key's of the periods before and after, and three of the one that is only heard. */
const MOST_OTHERS = 5;
const newKeys = (): NativeMemory => nativeMemory(TICKET_KEYS_BYTES);

/** Brings a ring to another time or array key. Contexts have copies: they are to be told of the newest again. */
export function turnTicketRing(ring: TicketRing, arrayKey: ArrayKey, at_ms: number): void {
  const period = Math.floor(at_ms / TICKET_PERIOD_MS);
  const keyOf = (period: number): Buffer => deriveKey(arrayKey, "ticket", TICKET_KEYS_BYTES, String(period));
  const alsoOf = (period: number): Buffer | undefined =>
    deriveAlso(arrayKey, "ticket", TICKET_KEYS_BYTES, String(period));
  const around = [period, period - 1, period + 1];
  const others = [keyOf(period - 1), keyOf(period + 1), ...around.flatMap((each) => alsoOf(each) ?? [])];
  ring.newest.bytes.set(keyOf(period));
  others.forEach((keys, i) => ring.others[i]!.bytes.set(keys));
  ring.otherCount = others.length;
  // What is no longer read must not stay in memory, either.
  for (const { bytes } of ring.others.slice(others.length)) bytes.fill(0);
  ring.ends_ms = (period + 1) * TICKET_PERIOD_MS;
}

/**
 * The key that a ticket at `at` needs, if it isn't the newest: its address, or 0. A ticket of the newest key, of none of
 * ours, and no ticket at all need nothing.
 */
export function otherKeysFor(ring: TicketRing, bytes: Buffer, at: number): number {
  for (let i = 0; i < ring.otherCount; i++) {
    const { bytes: keys, address } = ring.others[i]!;
    if (bytes.compare(keys, 0, TICKET_NAME_BYTES, at, at + TICKET_NAME_BYTES) === 0) return address;
  }
  return 0;
}
