/**
 * A token as text: where a new host finds the node that invites it, and the secret by which the two know each other. Pure.
 *
 * `dlba1-` and base64url of: family (4 or 6), address (4 or 16 bytes), port (2), secret (16), the first 4 bytes of SHA-256 over
 * all before them, which tell a mistyped token from an unknown one.
 */
import { createHash, hkdfSync } from "node:crypto";
import { formatIp, parseIp } from "../../conf/address.ts";
import { DlbaError } from "../../conf/errors.ts";
import { JOIN_SECRET_BYTES } from "../../conf/limits.ts";
import type { Psk } from "../../net/psk-tls.ts";

export interface Token {
  readonly address: string;
  readonly port: number;
  readonly secret: Uint8Array;
}

const PREFIX = "dlba1-";
const SUM_BYTES = 4;

/** The token's text. The address is a valid one. */
export function tokenText({ address, port, secret }: Token): string {
  const ip = parseIp(address);
  if (ip === undefined) throw new RangeError(`no address: ${address}`);
  const body = Buffer.concat([
    Buffer.from([ip.family]),
    ip.bytes.subarray(0, addressBytes(ip.family)),
    Buffer.from([port >> 8, port & 255]),
    secret,
  ]);
  return PREFIX + Buffer.concat([body, sumOf(body)]).toString("base64url");
}

/** Throws DlbaError USAGE when the text is no token; the error does not repeat it. */
export function readToken(text: string): Token {
  const trimmed = text.trim();
  const coded = trimmed.slice(PREFIX.length);
  const bytes = Buffer.from(coded, "base64url");
  const body = bytes.subarray(0, -SUM_BYTES);
  const isWhole =
    trimmed.startsWith(PREFIX) &&
    // Nothing that the decoder passes over.
    bytes.toString("base64url") === coded &&
    bytes.subarray(-SUM_BYTES).equals(sumOf(body));
  const family = body[0] === 4 ? 4 : 6;
  const size = addressBytes(family);
  if (!isWhole || body[0] !== family || body.length !== 1 + size + 2 + JOIN_SECRET_BYTES) {
    const hint = `it begins with ${PREFIX} and has to be copied whole; 'dlba token' on a node makes one`;
    throw new DlbaError("USAGE", "that is no token", { hint });
  }
  const ip = new Uint8Array(16);
  ip.set(body.subarray(1, 1 + size));
  const port = body.readUInt16BE(1 + size);
  return { address: formatIp(ip, family), port, secret: Buffer.from(body.subarray(1 + size + 2)) };
}

const addressBytes = (family: number): number => (family === 4 ? 4 : 16);
const sumOf = (body: Uint8Array): Buffer => createHash("sha256").update(body).digest().subarray(0, SUM_BYTES);

/** What the two sides prove to each other that they hold: the secret itself is sent nowhere. */
export const tokenPsk = (secret: Uint8Array): Psk => ({
  identity: "dlba-join",
  psk: Buffer.from(hkdfSync("sha256", secret, "dlba", "join/", 32)),
});
