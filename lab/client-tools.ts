/** curl and wrk on the lab's client, and what they say in numbers. */
import { DlbaError } from "../conf/errors.ts";
import { labExec } from "./lab.ts";

/** What curl tells of one answer. */
export interface Answer {
  /** HTTP status; 0 when there was no answer. */
  readonly status: number;
  /** Connections made for it: 0 when a kept one was used. */
  readonly new_connections: number;
  /** The web server's id, as it says itself. */
  readonly web: string;
  /** The node's address, as the web server saw it. */
  readonly node_address: string;
  /** The injected cookie, `NAME=VALUE`, or "". */
  readonly cookie: string;
}

const FIELDS = [
  "%{http_code}",
  "%{num_connects}",
  "%header{x-web-server}",
  "%header{x-asked-by}",
  "%header{set-cookie}",
].join("\\t");

export interface CurlOptions {
  readonly caFile: string;
  /** One connection for all URLs of the same host and port, or a new one for each. */
  readonly keepAlive: boolean;
  readonly cookie?: string;
}

/** Gets URLs one after the other from the lab's client. */
export async function curl(lab: string, urls: readonly string[], options: CurlOptions): Promise<Answer[]> {
  const { caFile, keepAlive, cookie = "" } = options;
  const requests = urls.map((url) => `url = "${url}"\noutput = "/dev/null"`).join("\n");
  const general = [`cacert = "${caFile}"`, "max-time = 10", "silent", "globoff", 'noproxy = "*"'];
  general.push(`write-out = "${FIELDS}\\n"`);
  if (!keepAlive) general.push('header = "Connection: close"');
  if (cookie !== "") general.push(`cookie = "${cookie}"`);
  const { stdout } = await labExec(
    lab,
    "client",
    ["curl", "-K", "-"],
    `${general.join("\n")}\n${requests}\n`,
  );
  return parseAnswers(stdout);
}

/** Reads lines of `write-out`. */
export function parseAnswers(text: string): Answer[] {
  return text
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => {
      const [status, connections, web = "", node_address = "", setCookie = ""] = line.split("\t");
      const [cookie = ""] = setCookie.split(";");
      return { status: Number(status), new_connections: Number(connections), web, node_address, cookie };
    });
}

export interface WrkResult {
  readonly requests: number;
  readonly requests_per_second: number;
  /** Answers other than 2xx and 3xx. */
  readonly bad_answers: number;
  /** Connections that failed, reads, writes and time-outs. */
  readonly socket_errors: number;
}

/** Loads a URL from the lab's client for some seconds. */
export async function wrk(
  lab: string,
  url: string,
  connections: number,
  seconds: number,
): Promise<WrkResult> {
  const options = ["-t1", `-c${connections}`, `-d${seconds}s`, "--timeout", "10s"];
  const { code, stdout, stderr } = await labExec(lab, "client", ["wrk", ...options, url]);
  if (code !== 0) throw new DlbaError("COMMAND_FAILED", `wrk ${url} failed (${code}): ${stderr.trim()}`);
  return parseWrk(stdout);
}

/** Reads wrk's report. Its lines about errors are only there when there were some. */
export function parseWrk(text: string): WrkResult {
  const number = (pattern: RegExp): number => Number(pattern.exec(text)?.[1] ?? 0);
  const errors = /Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)/.exec(text);
  return {
    requests: number(/(\d+) requests in/),
    requests_per_second: number(/Requests\/sec:\s+([\d.]+)/),
    bad_answers: number(/Non-2xx or 3xx responses: (\d+)/),
    socket_errors: (errors?.slice(1) ?? []).reduce((sum, count) => sum + Number(count), 0),
  };
}

/** How often each value occurs, in the values' order. */
export function tally(values: readonly string[]): Record<string, number> {
  const counts = new Map<string, number>();
  for (const value of values.toSorted()) counts.set(value, (counts.get(value) ?? 0) + 1);
  return Object.fromEntries(counts);
}
