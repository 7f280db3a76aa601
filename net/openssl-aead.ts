/**
 * Sealing and opening records with the AEADs of TLS 1.3, by OpenSSL's EVP. A key is the address of a context that holds it,
 * about 1 KB; a record takes five or six short calls and no memory of its own.
 */
import { DlbaError } from "../conf/errors.ts";
import { bind, nativeMemory, ownBinary } from "./ffi.ts";
import type { Hash } from "./hkdf.ts";

export type AeadKey = number;

/** A cipher suite of TLS 1.3 (RFC 8446 B.4). */
export interface Suite {
  readonly hash: Hash;
  readonly key_bytes: number;
  /** Address of OpenSSL's cipher. */
  readonly cipher: number;
}

export const TAG_BYTES = 16;
export const NONCE_BYTES = 12;

const o = ownBinary();
const cipherFetch = bind<[number, string, number], number>(
  o,
  "uintptr_t EVP_CIPHER_fetch(uintptr_t library, const char *name, uintptr_t properties)",
);
const contextNew = bind<[], number>(o, "uintptr_t EVP_CIPHER_CTX_new()");
/** Frees a key and wipes it. */
export const freeKey = bind<[AeadKey], void>(o, "void EVP_CIPHER_CTX_free(uintptr_t context)");
const init = bind<[number, number, number, number, number, number], number>(
  o,
  "int EVP_CipherInit_ex(uintptr_t context, uintptr_t cipher, uintptr_t engine, uintptr_t key, uintptr_t iv, int enc)",
);
const update = bind<[number, number, number, number, number], number>(
  o,
  "int EVP_CipherUpdate(uintptr_t context, uintptr_t out, uintptr_t out_length, uintptr_t in, int length)",
);
const final = bind<[number, number, number], number>(
  o,
  "int EVP_CipherFinal_ex(uintptr_t context, uintptr_t out, uintptr_t out_length)",
);
const control = bind<[number, number, number, number], number>(
  o,
  "int EVP_CIPHER_CTX_ctrl(uintptr_t context, int type, int number, uintptr_t pointer)",
);
const CTRL_GET_TAG = 0x10;
const CTRL_SET_TAG = 0x11;

const suites = new Map<number, Suite>();
const KINDS: Readonly<Record<number, { name: string; hash: Hash; key_bytes: number }>> = {
  0x1301: { name: "AES-128-GCM", hash: "SHA256", key_bytes: 16 },
  0x1302: { name: "AES-256-GCM", hash: "SHA384", key_bytes: 32 },
  0x1303: { name: "ChaCha20-Poly1305", hash: "SHA256", key_bytes: 32 },
};

/** The suite by its number; undefined for one that isn't offered. */
export function suiteOf(id: number): Suite | undefined {
  const known = suites.get(id);
  const kind = KINDS[id];
  if (known !== undefined || kind === undefined) return known;
  const { name, hash, key_bytes } = kind;
  const suite = { hash, key_bytes, cipher: cipherFetch(0, name, 0) };
  suites.set(id, suite);
  return suite;
}

const scratch = nativeMemory(64);
const nonce = nativeMemory(NONCE_BYTES);
const count = nativeMemory(4);

/** A context with the suite's key, for one direction; freed by `freeKey`. Throws when there is no memory. */
export function createKey(suite: Suite, key: Uint8Array, isSealing: boolean): AeadKey {
  const context = contextNew();
  scratch.bytes.set(key);
  const isDone =
    context !== 0 && init(context, suite.cipher, 0, scratch.address, nonce.address, isSealing ? 1 : 0) === 1;
  scratch.bytes.fill(0, 0, key.length);
  if (isDone) return context;
  if (context !== 0) freeKey(context);
  throw new DlbaError("TLS_MEMORY", "OpenSSL: no context for a cipher");
}

/** What a record's nonce is made of (RFC 8446 5.3): the direction's IV, as three words, and the record's number. */
export interface Nonce {
  iv0: number;
  iv1: number;
  iv2: number;
  /** Of records, 0 for the first; exact up to 2^53. */
  sequence: number;
}

function setNonce({ iv0, iv1, iv2, sequence }: Nonce): void {
  const { view } = nonce;
  view.setUint32(0, iv0);
  view.setUint32(4, (iv1 ^ Math.floor(sequence / 0x1_0000_0000)) >>> 0);
  view.setUint32(8, (iv2 ^ sequence) >>> 0);
}

/**
 * Seals `length` bytes and then the `extra` ones (its inner type) to an address, where the tag follows: `header` is authenticated. Returns
 * false when OpenSSL fails.
 */
export function seal(
  key: AeadKey,
  by: Nonce,
  header: number,
  header_bytes: number,
  from: number,
  length: number,
  extra: number,
  extra_bytes: number,
  to: number,
): boolean {
  setNonce(by);
  const end = to + length + extra_bytes;
  return (
    init(key, 0, 0, 0, nonce.address, -1) === 1 &&
    update(key, 0, count.address, header, header_bytes) === 1 &&
    (length === 0 || update(key, to, count.address, from, length) === 1) &&
    update(key, to + length, count.address, extra, extra_bytes) === 1 &&
    final(key, end, count.address) === 1 &&
    control(key, CTRL_GET_TAG, TAG_BYTES, end) === 1
  );
}

/** Opens `length` bytes, which the tag follows, to an address. False when they are not what the peer sealed: `to` holds nothing then. */
export function open(
  key: AeadKey,
  by: Nonce,
  header: number,
  header_bytes: number,
  from: number,
  length: number,
  to: number,
): boolean {
  setNonce(by);
  return (
    init(key, 0, 0, 0, nonce.address, -1) === 1 &&
    update(key, 0, count.address, header, header_bytes) === 1 &&
    update(key, to, count.address, from, length) === 1 &&
    control(key, CTRL_SET_TAG, TAG_BYTES, from + length) === 1 &&
    final(key, to + length, count.address) === 1
  );
}
