/**
 * The array key and what derives from it: one file, the same on all nodes. Every use has a key of its own (HKDF-SHA256, RFC
 * 5869), so that none tells anything of another. The file holds two secrets: the key, which can be changed while the array runs,
 * and the seed, which can't, because connections and clients would lose their way: which node a flow belongs to and which web
 * server a cookie stands for derive from it. While the key is changed there are two: nodes speak with one and hear both.
 */
import { createHmac, hkdfSync } from "node:crypto";
import { DlbaError } from "./errors.ts";
import { readGivenFile } from "./given-files.ts";
import { ARRAY_KEY_BYTES, ARRAY_KEY_FILE_BYTES } from "./limits.ts";

/** What derives from the seed: it stays for as long as the array runs. */
const SEED_USES = ["hash-seed", "cookie", "rates"] as const;
type SeedUse = (typeof SEED_USES)[number];
/** What derives from the key. */
type RotatedUse = "ticket" | "control" | "heartbeat";
export type KeyUse = SeedUse | RotatedUse;

/** All of a process share one, so that what is taken into it is what they all have. */
export interface ArrayKey {
  /** What this node speaks with. */
  current: Uint8Array;
  /** What it hears, too, while the key is being changed: the one that comes, or the one that goes. */
  also: Uint8Array | undefined;
  isAlsoNext: boolean;
  readonly seed: Uint8Array;
}

/** Reads the array key's file. Throws DlbaError ARRAY_KEY_UNREADABLE or ARRAY_KEY_INVALID. */
export function readArrayKey(path: string): ArrayKey {
  let text: string;
  try {
    text = readGivenFile(path).toString("latin1");
  } catch (cause) {
    throw new DlbaError("ARRAY_KEY_UNREADABLE", `the array key ${path} can't be read`, { cause });
  }
  return parseArrayKey(text, path);
}

/**
 * One line of base64 is a key, whose seed derives from it; else there is a line for each of `key`, `next` or `previous`, and `seed`. Empty lines
 * and those that begin with # are passed over. `path` is for errors. Throws DlbaError ARRAY_KEY_INVALID, which tells nothing of
 * what stands there.
 */
export function parseArrayKey(text: string, path: string): ArrayKey {
  const isShort = text.length <= ARRAY_KEY_FILE_BYTES;
  const lines = (isShort ? text.split("\n") : [])
    .map((line) => line.trim())
    .filter((line) => line !== "" && !line.startsWith("#"));
  if (lines.length === 1) return arrayKeyOf(secretOf(lines[0]!, path));
  const named = new Map(lines.map((line) => [line.split(/\s+/)[0]!, line.split(/\s+/).slice(1).join(" ")]));
  const known = ["key", "next", "previous", "seed"].filter((name) => named.has(name));
  const [isAlsoNext, isAlsoPrevious] = [named.has("next"), named.has("previous")];
  const isWhole = named.has("key") && named.has("seed") && !(isAlsoNext && isAlsoPrevious);
  if (!isWhole || known.length !== lines.length) throw invalid(path);
  const also = named.get("next") ?? named.get("previous");
  return {
    current: secretOf(named.get("key")!, path),
    also: also === undefined ? undefined : secretOf(also, path),
    isAlsoNext,
    seed: secretOf(named.get("seed")!, path),
  };
}

function secretOf(text: string, path: string): Buffer {
  const secret = Buffer.from(text, "base64");
  if (secret.length !== ARRAY_KEY_BYTES || !/^[A-Za-z0-9+/]{43}=?$/.test(text)) throw invalid(path);
  return secret;
}

const invalid = (path: string): DlbaError =>
  new DlbaError("ARRAY_KEY_INVALID", `the array key ${path} is not ${ARRAY_KEY_BYTES} bytes in base64`, {
    hint: `make one with: dlba init, or head -c ${ARRAY_KEY_BYTES} /dev/urandom | base64`,
  });

const secretLine = (name: string, secret: Uint8Array): string =>
  `${name} ${Buffer.from(secret).toString("base64")}\n`;

/** What the file holds of it. */
export function arrayKeyText({ current, also, isAlsoNext, seed }: ArrayKey): string {
  return (
    "# The array key of DLBA, the same on every node: a secret. 'dlba key rotate' changes it.\n" +
    secretLine("key", current) +
    (also === undefined ? "" : secretLine(isAlsoNext ? "next" : "previous", also)) +
    secretLine("seed", seed)
  );
}

/** From now on all of this process have what this text says; the seed stays. Throws DlbaError ARRAY_KEY_INVALID. */
export function takeArrayKey(arrayKey: ArrayKey, text: string): void {
  const { current, also, isAlsoNext } = parseArrayKey(text, "that was sent");
  Object.assign(arrayKey, { current, also, isAlsoNext });
}

/** A key that has never been changed. */
export const arrayKeyOf = (current: Uint8Array): ArrayKey => ({
  current,
  also: undefined,
  isAlsoNext: false,
  seed: seedOf(current),
});

/** Who learns the seed learns nothing of the key that it was made of. */
const seedOf = (key: Uint8Array): Buffer => derive(key, "seed/", ARRAY_KEY_BYTES);

const derive = (secret: Uint8Array, info: string, size_bytes: number): Buffer =>
  Buffer.from(hkdfSync("sha256", secret, "dlba", info, size_bytes));

const isSeedUse = (use: KeyUse): boolean => SEED_USES.some((one) => one === use);

/** A key of `size_bytes` for one use; `label` tells keys of the same use apart. */
export function deriveKey(arrayKey: ArrayKey, use: KeyUse, size_bytes: number, label = ""): Buffer {
  return derive(isSeedUse(use) ? arrayKey.seed : arrayKey.current, `${use}/${label}`, size_bytes);
}

/** The same of the key that is only heard, if there is one. */
export function deriveAlso(
  { also }: ArrayKey,
  use: RotatedUse,
  size_bytes: number,
  label = "",
): Buffer | undefined {
  return also === undefined ? undefined : derive(also, `${use}/${label}`, size_bytes);
}

/** What a key is called: 16 hexadecimal digits that tell nothing of it. */
export const keyId = (key: Uint8Array): string => derive(key, "id/", 8).toString("hex");

/**
 * The cookie value that stands for a web server of a pool: 128 bits keyed by the array's seed, so that clients
 * can neither read nor forge it, and the same on every node.
 */
export function cookieToken(arrayKey: ArrayKey, pool: string, serverId: string): string {
  const key = deriveKey(arrayKey, "cookie", 32);
  return createHmac("sha256", key)
    .update(`${pool}\0${serverId}`)
    .digest()
    .subarray(0, 16)
    .toString("base64url");
}
