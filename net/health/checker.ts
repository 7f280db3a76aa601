/** The edge of health checks: connects, asks and pings the hosts of a pool as checks.ts says. */
import { CHECK_BODY_BYTES } from "../../conf/limits.ts";
import { request, type IncomingMessage } from "node:http";
import { request as requestTls } from "node:https";
import { connect } from "node:net";
import { connect as connectTls, type ConnectionOptions } from "node:tls";
import { parseIp } from "../../conf/address.ts";
import { describeError } from "../../conf/errors.ts";
import type { PoolConfig } from "../../conf/schema.ts";
import type { IcmpSocket } from "../icmp-socket.ts";
import {
  nextDue_ms,
  startChecks,
  takeDue,
  takeResult,
  type CheckResult,
  type HealthChange,
  type HostHealth,
} from "./checks.ts";

export type CheckConfig = NonNullable<PoolConfig["check"]>;
export interface CheckedHost {
  readonly number: number;
  readonly address: string;
  readonly port: number;
  /** It is asked over TLS. */
  readonly tls?: CheckTls;
}
/** How a host is asked over TLS, and by what it is known. */
export type CheckTls = Pick<ConnectionOptions, "ca" | "cert" | "key" | "servername" | "rejectUnauthorized">;
export interface CheckerOptions {
  readonly hosts: readonly CheckedHost[];
  readonly check: CheckConfig;
  /** One for all checkers; needed for checks by icmp alone. */
  readonly icmp?: IcmpSocket;
  readonly onChange: (change: HealthChange) => void;
}
export interface Checker {
  healthOf(host: number): HostHealth | undefined;
  stop(): void;
}

const GOOD: CheckResult = { kind: "good" };
const bad = (reason: string): CheckResult => ({ kind: "bad", reason });

/** Checks until stopped. */
export function startChecker({ hosts, check, icmp, onChange }: CheckerOptions): Checker {
  const byNumber = new Map(hosts.map((host) => [host.number, host]));
  const stopping = new AbortController();
  let checks = startChecks([...byNumber.keys()], check, performance.now());
  let timer: NodeJS.Timeout | undefined;
  const wait = (): void => {
    clearTimeout(timer);
    const due_ms = nextDue_ms(checks);
    if (due_ms !== Infinity) timer = setTimeout(turn, Math.max(0, due_ms - performance.now()));
  };
  const ask = async (host: CheckedHost): Promise<void> => {
    const result = await probe(host, check, icmp, stopping.signal);
    if (stopping.signal.aborted) return;
    const { checks: after, change } = takeResult(checks, host.number, result);
    checks = after;
    wait();
    if (change !== undefined) onChange(change);
  };
  const turn = (): void => {
    const next = takeDue(checks, performance.now());
    checks = next.checks;
    const host = next.host === undefined ? undefined : byNumber.get(next.host);
    if (host !== undefined) void ask(host);
    wait();
  };
  wait();
  return {
    healthOf: (host) => checks.hosts.get(host),
    stop: () => {
      clearTimeout(timer);
      stopping.abort();
    },
  };
}

/** One check of one host; it never takes longer than the time-out, and never rejects. */
export async function probe(
  host: CheckedHost,
  check: CheckConfig,
  icmp?: IcmpSocket,
  signal?: AbortSignal,
): Promise<CheckResult> {
  const { timeout_ms } = check;
  if (check.type === "icmp") return ping(host, icmp, timeout_ms);
  return new Promise((resolve) => {
    let cancel = nothing;
    const finish = (result: CheckResult): void => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", stop);
      resolve(result);
      cancel();
    };
    const stop = (): void => finish(bad("stopped"));
    const timer = setTimeout(() => finish(bad(`no answer within ${timeout_ms} ms`)), timeout_ms);
    signal?.addEventListener("abort", stop);
    cancel = (check.type === "tcp" ? tryConnect : get)(host, check, finish);
  });
}

const nothing = (): void => {};

/** Both begin a check, and return what breaks it off. They may finish more than once: the first time counts. */
type Start = (host: CheckedHost, check: CheckConfig, finish: (result: CheckResult) => void) => () => void;

const tryConnect: Start = (host, check, finish) => {
  if (host.tls !== undefined) return shakeHands(host, check, finish);
  const socket = connect({ host: host.address, port: host.port });
  socket.on("connect", () => finish(GOOD));
  socket.on("error", (error) => finish(failure(error)));
  // A reset: the host's process need not even notice, and no port stays in TIME_WAIT.
  return () => socket.resetAndDestroy();
};

const shakeHands: Start = ({ address, port, tls }, _, finish) => {
  const socket = connectTls({ host: address, port, ...tls });
  socket.on("secureConnect", () => finish(GOOD));
  socket.on("error", (error) => finish(failure(error)));
  return () => socket.destroy();
};

const get: Start = ({ address, port, tls }, { path, host, statuses }, finish) => {
  const name = tls?.servername ?? (address.includes(":") ? `[${address}]` : address);
  const usual = tls === undefined ? 80 : 443;
  const headers = { host: host ?? (port === usual ? name : `${name}:${port}`), "user-agent": "dlba-check" };
  // No agent: a connection of its own for each check, closed after it.
  const options = { host: address, port, path, headers, agent: false } as const;
  const asking = tls === undefined ? request(options) : requestTls({ ...options, ...tls });
  asking.on("error", (error) => finish(failure(error)));
  asking.on("response", (response) => {
    const { statusCode = 0 } = response;
    if (statuses.includes(statusCode)) readBody(response, finish);
    else finish(bad(`status ${statusCode}`));
  });
  asking.end();
  return () => asking.destroy();
};

function readBody(response: IncomingMessage, finish: (result: CheckResult) => void): void {
  let bytes = 0;
  response.on("data", (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes > CHECK_BODY_BYTES) finish(GOOD);
  });
  response.on("end", () => finish(GOOD));
  response.on("error", () => finish(bad("connection closed within the answer")));
}

async function ping(
  { address }: CheckedHost,
  icmp: IcmpSocket | undefined,
  timeout_ms: number,
): Promise<CheckResult> {
  const ip = parseIp(address);
  if (ip === undefined || icmp === undefined) return bad(`${address} can't be pinged`);
  try {
    return (await icmp.echo(ip, timeout_ms)) ? GOOD : bad(`no answer within ${timeout_ms} ms`);
  } catch (error) {
    return failure(error);
  }
}

const WORDS: Readonly<Record<string, string>> = {
  ECONNREFUSED: "connection refused",
  ECONNRESET: "connection closed without an answer",
  EPIPE: "connection closed without an answer",
  EHOSTUNREACH: "no way to the host",
  ENETUNREACH: "no way to the host's network",
  EHOSTDOWN: "the host does not answer ARP",
  ETIMEDOUT: "no answer",
};
/** This node's own trouble, which no host should suffer for. */
const OWN_FAULTS = new Set(["EMFILE", "ENFILE", "ENOMEM", "ENOBUFS", "EADDRNOTAVAIL", "EPERM", "EACCES"]);

/** What an error means, in words for an operator. */
function failure(error: unknown): CheckResult {
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  if (OWN_FAULTS.has(code))
    return { kind: "unsure", reason: `could not be checked: ${describeError(error)}` };
  if (code.startsWith("HPE_")) return bad("the answer is not HTTP");
  if (code.startsWith("ERR_SSL_")) return bad("the TLS handshake failed");
  return bad(WORDS[code] ?? describeError(error));
}
