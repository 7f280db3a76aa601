/** Hosts: what is taken for one is one for the grammar and for the WHATWG's URL, with the same host and port. */
import assert from "node:assert/strict";
import { hostEnd } from "../../../dlba-server/http/host.ts";
import { below, oneOf, type Random, type Target } from "../target.ts";

const HOST = /^(?:[-._~0-9A-Za-z]+|\[[0-9A-Fa-f:.]{2,}\])/;
const PORT = /^(?::\d{0,5})?$/;

function check(input: string): void {
  const bytes = Buffer.from(`x${input}x`, "latin1");
  const end = hostEnd(bytes, 1, 1 + input.length);
  const host = HOST.exec(input)?.[0] ?? "";
  const rest = input.slice(host.length);
  const isHost = host !== "" && PORT.test(rest) && Number(rest.slice(1)) < 65_536;
  assert.equal(end, isHost ? 1 + host.length : -1);
  if (!isHost || !URL.canParse(`http://${input}/p`)) return;
  const url = new URL(`http://${input}/p`);
  assert.deepEqual([url.pathname, url.search, url.hash, url.username, url.password], ["/p", "", "", "", ""]);
  const isNumber = /^[\d.]|0x|^\[/i.test(host) || /\.(?:\d+|0x[0-9a-f]*)\.?$/i.test(host);
  if (!isNumber) assert.equal(url.hostname, host.toLowerCase());
}

const LABELS = ["h", "example", "a-b", "192", "0x7f", "xn--a", "_a", "~"];
const make = (random: Random): string =>
  oneOf(random, ["", "[::1]", "[2001:db8::1]", `${oneOf(random, LABELS)}.`]) +
  oneOf(random, LABELS) +
  oneOf(random, ["", "", ":80", ":", ":65536", ":0443"]) +
  (below(random, 9) === 0 ? "." : "");

export const hosts: Target = {
  name: "hosts",
  batch: 3000,
  seeds: [
    "h",
    "h:80",
    "h.example.:",
    "[::1]:443",
    "192.0.2.1",
    "a,b",
    "u@h",
    "h/p",
    "%68",
    "[::1",
    "h:65536",
  ],
  words: ["@", "/", "\\", "?", "#", "[", "]", ":", ",", "%", "\0", " ", "[::1]", ":80", ".", "\xe4"],
  make,
  check,
};
