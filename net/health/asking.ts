/** How a host is asked whether it is well: by connecting, over HTTP/1.1, or by an echo request. */
import { request, type IncomingMessage } from "node:http";
import { request as requestTls } from "node:https";
import { connect } from "node:net";
import { connect as connectTls, type ConnectionOptions } from "node:tls";
import { parseIp } from "../../conf/address.ts";
import { CHECK_BODY_BYTES } from "../../conf/limits.ts";
import type { PoolConfig } from "../../conf/schema.ts";
import type { IcmpSocket } from "../icmp-socket.ts";
import type { CheckResult } from "./checks.ts";
import { bad, failure, GOOD, OTHER_PROTOCOL } from "./results.ts";

export type CheckConfig = NonNullable<PoolConfig["check"]>;
export interface CheckedHost {
  readonly number: number;
  readonly address: string;
  readonly port: number;
  /** It is asked over TLS. */
  readonly tls?: CheckTls;
  /** It speaks HTTP/2. */
  readonly isHttp2?: boolean;
}
/** How a host is asked over TLS, and by what it is known. */
export type CheckTls = Pick<ConnectionOptions, "ca" | "cert" | "key" | "servername" | "rejectUnauthorized">;

/** Each begins a check, and returns what breaks it off. It may finish more than once: the first time counts. */
export type Start = (
  host: CheckedHost,
  check: CheckConfig,
  finish: (result: CheckResult) => void,
) => () => void;

export const tryConnect: Start = (host, check, finish) => {
  if (host.tls !== undefined) return shakeHands(host, check, finish);
  const socket = connect({ host: host.address, port: host.port });
  socket.on("connect", () => finish(GOOD));
  socket.on("error", (error) => finish(failure(error)));
  // A reset: the host's process need not even notice, and no port stays in TIME_WAIT.
  return () => socket.resetAndDestroy();
};

const shakeHands: Start = ({ address, port, tls, isHttp2 }, _, finish) => {
  const offered = isHttp2 === true ? { ALPNProtocols: ["h2"] } : {};
  const socket = connectTls({ host: address, port, ...offered, ...tls });
  socket.on("secureConnect", () =>
    finish(isHttp2 === true && socket.alpnProtocol !== "h2" ? OTHER_PROTOCOL : GOOD),
  );
  socket.on("error", (error) => finish(failure(error)));
  return () => socket.destroy();
};

/** Who is asked, for the field that says so. */
export function authorityOf({ address, port, tls }: CheckedHost, { host }: CheckConfig): string {
  const name = tls?.servername ?? (address.includes(":") ? `[${address}]` : address);
  const usual = tls === undefined ? 80 : 443;
  return host ?? (port === usual ? name : `${name}:${port}`);
}

export const get: Start = (asked, check, finish) => {
  const { address, port, tls } = asked;
  const { path, statuses } = check;
  const headers = { host: authorityOf(asked, check), "user-agent": "dlba-check" };
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

/** An echo request, by ICMP. */
export async function ping(
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
