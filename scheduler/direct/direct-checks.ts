/** Has the hosts of direct pools checked, and notes on each what comes of it. */
import { openIcmpSocket } from "../../net/icmp-socket.ts";
import { directPoolsOf } from "../arrangement.ts";
import { startChecker, type Checker } from "../../net/health/checker.ts";
import type { DirectHost, Machine } from "../machine.ts";

/** Checks until stopped; `onChange` after each change. Nothing is started where no pool has a check. */
export function startDirectChecks(machine: Machine, onChange: () => void): { stop(): void } {
  const pools = directPoolsOf(machine.config);
  if (pools.every(({ check }) => check === undefined)) return { stop: () => undefined };
  const icmp = openIcmpSocket();
  const checkers = pools.flatMap(({ name, check, servers }): Checker[] => {
    if (check === undefined) return [];
    const hosts = machine.hosts.filter(({ area }) => area.name === name);
    return [
      startChecker({
        hosts: servers.flatMap(({ number, address, port }) =>
          number === undefined ? [] : [{ number, address, port }],
        ),
        check,
        icmp,
        onChange: ({ host: number, isUp, reason }) => {
          const host = hosts.find((host) => host.number === number);
          if (host === undefined) return;
          take(machine, host, isUp, reason);
          onChange();
        },
      }),
    ];
  });
  return {
    stop: () => {
      for (const checker of checkers) checker.stop();
      icmp.close();
    },
  };
}

function take({ log }: Machine, host: DirectHost, isGood: boolean, reason: string): void {
  host.isGood = isGood;
  host.complaint = reason;
  const facts = { pool: host.area.name, host: host.id, reason };
  if (isGood) log.info(facts, "a direct pool's host is up");
  else log.warn(facts, "a direct pool's host is routed round");
}
