/** The kinds of load that bench:proxy puts on a proxy; each returns how many units of work were done. */
import { join } from "node:path";
import { ADDRESS, inside, LOAD_CPU, output, type Proxy } from "./proxy-peers.ts";

export const CONNECTIONS = 64;
/** For big bodies: so many at a time that some of them are whole within a second on a slow machine, too. */
const BULK_CONNECTIONS = 16;
const H2_CONNECTIONS = 16;
const H2_STREAMS = 10;
const H2_REQUESTS_PER_SECOND = 20_000;

/** What a browser sends beside Host, abridged in nothing. */
const BROWSER_FIELDS = [
  "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
  "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
  "Accept-Language: en-US,en;q=0.5",
  "Accept-Encoding: gzip, deflate, br, zstd",
  "Referer: https://www.example.org/products/index.html",
  "Cookie: session=5f2c8a1e9b7d4c60a3e1f8b2d4c6a8e0; theme=dark",
  "Sec-Fetch-Site: same-origin",
  "Upgrade-Insecure-Requests: 1",
];

export interface Case {
  readonly name: string;
  readonly load: (proxy: Proxy, seconds: number) => Promise<number>;
  /** Proxies that can't take part. */
  readonly without: readonly string[];
}

const wrkLoad =
  (scheme: "http" | "https", path: string, fields: readonly string[] = [], connections = CONNECTIONS) =>
  async (proxy: Proxy, seconds: number): Promise<number> => {
    const port = scheme === "http" ? proxy.plainPort : proxy.tlsPort;
    const how = ["-t1", "--timeout", "30", `-c${connections}`, `-d${seconds}`];
    const url = `${scheme}://${ADDRESS}:${port}/${path}`;
    const text = await output(inside("wrk", [...how, ...fields.flatMap((f) => ["-H", f]), url], LOAD_CPU));
    return wrkCount(proxy.name, text);
  };

/** The requests that wrk says it made, if all went well. */
export function wrkCount(name: string, text: string): number {
  const isClean = !/Non-2xx|Socket errors/.test(text);
  const count = Number(/(\d+) requests in/.exec(text)?.[1] ?? 0);
  if (!isClean || count === 0) throw new Error(`${name} failed requests of wrk:\n${text}`);
  return count;
}

const handshakes =
  (kind: "-new" | "-reuse") =>
  async (proxy: Proxy, seconds: number): Promise<number> => {
    const where = ["-connect", `${ADDRESS}:${proxy.tlsPort}`, "-www", "/100"];
    const time = ["-time", String(Math.ceil(seconds)), "-tls1_3"];
    const text = await output(inside("openssl", ["s_time", ...where, ...time, kind], LOAD_CPU));
    const count = Number(/(\d+) connections in \d+ real/.exec(text)?.[1] ?? 0);
    if (count === 0) throw new Error(`${proxy.name} made no handshake:\n${text.slice(-500)}`);
    return count;
  };

async function h2Load(proxy: Proxy, seconds: number): Promise<number> {
  // A number of requests, not a time: on a busy machine the handshakes alone may take all of that.
  const count = Math.ceil(seconds * H2_REQUESTS_PER_SECOND);
  const how = [`-c${H2_CONNECTIONS}`, `-m${H2_STREAMS}`, `-n${count}`];
  const url = `https://${ADDRESS}:${proxy.tlsPort}/100`;
  const text = await output(inside("h2load", [...how, url], LOAD_CPU));
  const [, done, failed, errored] =
    /(\d+) succeeded, (\d+) failed, (\d+) errored/.exec(text)?.map(Number) ?? [];
  const isH2 = text.includes("Application protocol: h2");
  if (!isH2 || !done || failed !== 0 || errored !== 0) {
    throw new Error(`${proxy.name} failed requests of h2load:\n${text.slice(-900)}`);
  }
  return done;
}

export const CASES: readonly Case[] = [
  { name: "plain_100b", load: wrkLoad("http", "100"), without: [] },
  { name: "plain_10kb", load: wrkLoad("http", "10k"), without: [] },
  { name: "plain_1mb", load: wrkLoad("http", "1m", [], BULK_CONNECTIONS), without: [] },
  { name: "browser_fields", load: wrkLoad("http", "100", BROWSER_FIELDS), without: [] },
  { name: "tls_100b", load: wrkLoad("https", "100"), without: [] },
  { name: "full_handshakes", load: handshakes("-new"), without: ["http_proxy"] },
  { name: "resumed_handshakes", load: handshakes("-reuse"), without: ["http_proxy"] },
  { name: "h2_100b", load: h2Load, without: ["http_proxy"] },
];

/**
 * Response times in microseconds, unsorted, when requests fall due at random at a rate that doesn't follow the proxy. The
 * load generator goes first on its core, so that the web server does not delay it.
 */
export async function responseTimes_us(
  proxy: Proxy,
  perSecond: number,
  seconds: number,
  seed: number,
): Promise<number[]> {
  const where = [ADDRESS, proxy.plainPort, CONNECTIONS].map(String);
  const client = [process.execPath, join(import.meta.dirname, "paced-load.ts"), ...where];
  const how = [perSecond, seconds, seed].map(String);
  const text = await output(inside("chrt", ["-f", "1", ...client, ...how], LOAD_CPU));
  const times_us = text.trim().split("\n").map(Number);
  if (times_us.length !== Math.round(perSecond * seconds) || times_us.some((time_us) => !(time_us >= 0))) {
    throw new Error(`${proxy.name} failed requests:\n${text.slice(0, 900)}`);
  }
  return times_us;
}
