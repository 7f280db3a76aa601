/**
 * The array key and what derives from it. One secret, the same on all nodes; every use has its own key
 * (HKDF-SHA256, RFC 5869), so that none tells anything of another.
 */
import { createHmac, hkdfSync } from "node:crypto";
import { DlbaError } from "./errors.ts";
import { readGivenFile } from "./given-files.ts";
import { ARRAY_KEY_BYTES } from "./limits.ts";

export type KeyUse = "hash-seed" | "cookie" | "ticket" | "control" | "heartbeat" | "rates";

/** Reads the array key: base64 of 32 bytes, white space around it allowed. */
export function readArrayKey(path: string): Uint8Array {
  let text: string;
  try {
    text = readGivenFile(path).toString("latin1").trim();
  } catch (cause) {
    throw new DlbaError("ARRAY_KEY_UNREADABLE", `the array key ${path} can't be read`, { cause });
  }
  const key = Buffer.from(text, "base64");
  if (key.length !== ARRAY_KEY_BYTES || !/^[A-Za-z0-9+/]+=*$/.test(text)) {
    throw new DlbaError(
      "ARRAY_KEY_INVALID",
      `the array key ${path} is not ${ARRAY_KEY_BYTES} bytes in base64`,
      {
        hint: `make one with: head -c ${ARRAY_KEY_BYTES} /dev/urandom | base64`,
      },
    );
  }
  return key;
}

/** A key of `size_bytes` for one use; `label` tells keys of the same use apart. */
export function deriveKey(arrayKey: Uint8Array, use: KeyUse, size_bytes: number, label = ""): Buffer {
  return Buffer.from(hkdfSync("sha256", arrayKey, "dlba", `${use}/${label}`, size_bytes));
}

/**
 * The cookie value that stands for a web server of a pool: 128 bits keyed by the array key, so that clients
 * can neither read nor forge it, and the same on every node.
 */
export function cookieToken(arrayKey: Uint8Array, pool: string, serverId: string): string {
  const key = deriveKey(arrayKey, "cookie", 32);
  return createHmac("sha256", key)
    .update(`${pool}\0${serverId}`)
    .digest()
    .subarray(0, 16)
    .toString("base64url");
}
