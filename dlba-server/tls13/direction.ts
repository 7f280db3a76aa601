/** One direction of a TLS 1.3 connection after its handshake: the key, the numbers of its records, and the secret that the next key comes from. */
import {
  type AeadKey,
  createKey,
  freeKey,
  type Nonce,
  NONCE_BYTES,
  type Suite,
} from "../../net/openssl-aead.ts";
import { expandLabel } from "../../net/hkdf.ts";

export interface Direction extends Nonce {
  readonly suite: Suite;
  readonly isSealing: boolean;
  /** Replaced by the next one with each key update. */
  readonly secret: Buffer;
  key: AeadKey;
}

const keyBytes = new Map([16, 32].map((length) => [length, Buffer.alloc(length)]));
const iv = Buffer.alloc(NONCE_BYTES);

/** A direction from its traffic secret (RFC 8446 7.3), with so many records sealed already. Ended by `endDirection`. */
export function createDirection(
  suite: Suite,
  secret: Buffer,
  isSealing: boolean,
  sequence: number,
): Direction {
  const direction: Direction = { suite, isSealing, secret, key: 0, iv0: 0, iv1: 0, iv2: 0, sequence };
  takeKey(direction);
  return direction;
}

function takeKey(direction: Direction): void {
  const { suite, secret, isSealing } = direction;
  const key = keyBytes.get(suite.key_bytes)!;
  expandLabel(suite.hash, secret, "key", key);
  expandLabel(suite.hash, secret, "iv", iv);
  direction.key = createKey(suite, key, isSealing);
  direction.iv0 = iv.readUInt32BE(0);
  direction.iv1 = iv.readUInt32BE(4);
  direction.iv2 = iv.readUInt32BE(8);
  key.fill(0);
  iv.fill(0);
}

/** The next key of the direction (RFC 8446 7.2). */
export function updateKey(direction: Direction): void {
  const { suite, secret } = direction;
  const next = Buffer.alloc(secret.length);
  expandLabel(suite.hash, secret, "traffic upd", next);
  secret.set(next);
  next.fill(0);
  freeKey(direction.key);
  direction.key = 0;
  direction.sequence = 0;
  takeKey(direction);
}

export function endDirection(direction: Direction): void {
  if (direction.key !== 0) freeKey(direction.key);
  direction.key = 0;
  direction.secret.fill(0);
}
