/**
 * Looks, again and again while it matters, which connections this node has: the scheduler has to know of which buckets of
 * others there are some here, and when a draining node's last connection is gone.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { parseIp } from "../../conf/address.ts";
import { describeError } from "../../conf/errors.ts";
import { HELD_ROUND_MS, HELD_SETTLE_MS } from "../../conf/limits.ts";
import { eachTcpSocket, type LocalService } from "../../net/sock-diag.ts";
import { bucketOf, clientHash } from "../hash.ts";
import { createSocketRounds, type HeldSockets } from "./held-sockets.ts";
import type { Machine } from "../machine.ts";

export interface HeldRoundsOptions {
  readonly machine: Machine;
  /** Whether anybody wants to know. */
  readonly isWanted: () => boolean;
  /** The table's version now. */
  readonly version: () => number;
  readonly isElsewhere: (bucket: number) => boolean;
  /** What a round has found; it began at that version. */
  readonly onHeld: (held: HeldSockets, version: number) => void;
}

/** Looks until stopped; it never keeps the process from ending. */
export function startHeldRounds(options: HeldRoundsOptions): { stop(): void } {
  const { machine, isWanted, version, isElsewhere, onHeld } = options;
  const look = lookerAt(machine, isElsewhere);
  const stopping = new AbortController();
  const { signal } = stopping;
  const round = async (): Promise<void> => {
    const began_at = version();
    // What was on its way to this node when it got that version is a connection by then.
    await sleep(HELD_SETTLE_MS, undefined, { ref: false });
    try {
      const held = await look();
      if (!signal.aborted) onHeld(held, began_at);
    } catch (error) {
      machine.log.warn({ reason: describeError(error) }, "this node's connections could not be listed");
    }
  };
  const loop = async (): Promise<void> => {
    while (!signal.aborted) {
      if (isWanted()) await round();
      await sleep(HELD_ROUND_MS, undefined, { ref: false });
    }
  };
  void loop();
  return { stop: () => stopping.abort() };
}

/** The buckets that this node has connections of, now: a bit for each. Rejects with SysError. */
export async function listConnected(machine: Machine): Promise<Uint8Array> {
  const look = lookerAt(machine, () => true);
  // One look may miss a connection.
  await look();
  return (await look()).bits!;
}

/** Looks at this node's connections once with every call. */
function lookerAt(machine: Machine, isElsewhere: (bucket: number) => boolean): () => Promise<HeldSockets> {
  const { services, hashes } = tcpServices(machine);
  const mask = machine.plane.tableSize - 1;
  const rounds = createSocketRounds({
    tableSize: machine.plane.tableSize,
    hashes,
    isElsewhere,
    bucketOf: (address, family, port, hash) => {
      const client = clientHash(machine.hashKey, address, family);
      return hash === "address" ? client & mask : bucketOf(client, port, mask);
    },
  });
  return async () => {
    try {
      await eachTcpSocket(services, rounds.take);
      return rounds.end();
    } catch (error) {
      rounds.drop();
      throw error;
    }
  };
}

/** The TCP services of the array's own nodes, and what each hashes. */
function tcpServices({ config, areas }: Machine): {
  services: LocalService[];
  hashes: ("address-and-port" | "address")[];
} {
  const direct = new Set(areas.map(({ name }) => name).filter((name) => name !== ""));
  const all = config.vservers
    .filter(({ protocol, pool }) => protocol !== "udp" && !direct.has(pool ?? ""))
    .flatMap(({ vips, ports, hash }) =>
      vips.flatMap((vip) => {
        const address = parseIp(vip);
        return address === undefined ? [] : ports.map((port) => ({ address, port, hash }));
      }),
    );
  return { services: all, hashes: all.map(({ hash }) => hash) };
}
