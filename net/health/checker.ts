/** The edge of health checks: asks the hosts of a pool as checks.ts says. */
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
import { get, ping, tryConnect, type CheckConfig, type CheckedHost, type Start } from "./asking.ts";
import { askGrpc, getHttp2 } from "./http2-check.ts";
import { bad } from "./results.ts";

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
    cancel = howToAsk(host, check)(host, check, finish);
  });
}

const nothing = (): void => {};

function howToAsk({ isHttp2 }: CheckedHost, { type }: CheckConfig): Start {
  if (type === "tcp") return tryConnect;
  if (type === "grpc") return askGrpc;
  return isHttp2 === true ? getHttp2 : get;
}
