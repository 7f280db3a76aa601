/** The PROXY header: every beginning of one is incomplete, what follows makes no difference, and a slow reader agrees. */
import assert from "node:assert/strict";
import { isIP } from "node:net";
import {
  MOST_PROXY_HEADER_BYTES,
  readProxyHeader,
  writeProxyHeader,
} from "../../../dlba-server/proxy-header.ts";
import { below, oneOf, type Random, type Target } from "../target.ts";

const SIGNATURE_V2 = "\r\n\r\n\0\r\nQUIT\n";
const ADDRESSES = ["192.0.2.1", "255.255.255.255", "0.0.0.0", "2001:db8::1", "::", "::ffff:1.2.3.4"];

/** The length of the header that the input begins with, or 0. After the specification's text, once more. */
function slowLength(input: string): number {
  const line = /^PROXY ([^\r\n]*)\r\n/.exec(input);
  if (line !== null) return line[0].length <= 107 && isLine(line[1]!) ? line[0].length : 0;
  if (!input.startsWith(SIGNATURE_V2) || input.length < 16) return 0;
  const command = input.charCodeAt(12);
  const kind = input.charCodeAt(13);
  const rest = input.charCodeAt(14) * 256 + input.charCodeAt(15);
  if ((command !== 0x20 && command !== 0x21) || rest > 1024 || input.length < 16 + rest) return 0;
  const least = new Map([
    [0x00, 0],
    [0x11, 12],
    [0x21, 36],
    [0x31, 0],
  ]).get(kind);
  if (command === 0x21 && (least === undefined || rest < least)) return 0;
  return 16 + rest;
}

const isPort = (text: string): boolean => /^(?:0|[1-9]\d{0,4})$/.test(text) && Number(text) < 65_536;

function isLine(text: string): boolean {
  if (/^UNKNOWN(?: [ -~]*)?$/.test(text)) return true;
  const [family, from = "", to = "", port = "", toPort = "", ...more] = text.split(" ");
  const wanted = family === "TCP4" ? 4 : family === "TCP6" ? 6 : -1;
  const areAddresses = [from, to].every((address) => isIP(address) === wanted && !address.includes("%"));
  return more.length === 0 && areAddresses && isPort(port) && isPort(toPort);
}

function make(random: Random): string {
  const endpoint = { address: oneOf(random, ADDRESSES), port: below(random, 65_536) };
  const other = { address: oneOf(random, ADDRESSES), port: below(random, 65_536) };
  return writeProxyHeader(oneOf(random, ["v1", "v2"] as const), endpoint, other);
}

export const proxyHeader: Target = {
  name: "proxy-header",
  batch: 1500,
  seeds: [
    "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nGET / HTTP/1.1\r\n",
    "PROXY TCP6 2001:db8::1 ::1 65535 0\r\n",
    "PROXY UNKNOWN\r\n",
    "PROXY UNKNOWN a b c\r\n",
    `${SIGNATURE_V2}\x20\0\0\0`,
    `${SIGNATURE_V2}\x21\x11\0\x0c\xc0\0\x02\x01\xc0\0\x02\x02\0\x01\0\x02`,
    `${SIGNATURE_V2}\x21\x21\0\x24${"\x20".repeat(36)}`,
    `${SIGNATURE_V2}\x21\x31\0\xd8${"\0".repeat(216)}`,
  ],
  words: [
    "PROXY ",
    "TCP4",
    "TCP6",
    "UNKNOWN",
    " ",
    "\r\n",
    "::1",
    "1.2.3.4",
    "65536",
    SIGNATURE_V2,
    "\x21",
    "\x11",
    "\0",
  ],
  make,
  check: (input) => {
    const bytes = Buffer.from(input, "latin1");
    const whole = readProxyHeader(bytes);
    const length = slowLength(input);
    if (typeof whole === "string") assert.equal(length, 0, "the grammar finds a header");
    else assert.equal(whole.length, length, "the grammar finds another end");
    let isOver = false;
    for (let end = 0; end <= Math.min(bytes.length, MOST_PROXY_HEADER_BYTES); end++) {
      const part = readProxyHeader(bytes.subarray(0, end));
      if (part === "incomplete") assert.equal(isOver, false, `incomplete again at ${end}`);
      else assert.deepEqual(part, whole, `at ${end}`);
      isOver = part !== "incomplete";
    }
  },
};
