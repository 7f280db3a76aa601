/**
 * Finds the MAC addresses of other nodes: asks for each of those that are wanted, again and again until told. The
 * sockets exist only while something is wanted.
 */
import { networkInterfaces } from "node:os";
import { parseIp, type IpAddress } from "../../conf/address.ts";
import { describeError } from "../../conf/errors.ts";
import { NEIGHBOUR_RETRY_MS } from "../../conf/limits.ts";
import type { Neighbour } from "../../net/frames.ts";
import { openNeighbourSockets, type NeighbourSockets } from "../../net/neighbour-sockets.ts";
import type { Logger } from "../../status/log.ts";

const POLL_MS = 5;
/**
 * Sockets that are not needed any more are closed after this: the kernel lets who closes them wait for tens of
 * milliseconds, and MAC addresses become known just when a node has begun to schedule.
 */
const CLOSE_AFTER_MS = 1000;

export interface NeighbourOptions {
  readonly interface: string;
  readonly ifindex: number;
  readonly mac: Uint8Array;
  /** This node's own address. */
  readonly address: string;
  readonly log: Logger;
  readonly onNeighbour: (neighbour: Neighbour) => void;
}
export interface NeighbourFinder {
  /** Asks for these addresses from now on, and for no others. */
  want(addresses: readonly string[]): void;
  close(): void;
}

export function createNeighbourFinder(options: NeighbourOptions): NeighbourFinder {
  let wanted = new Map<string, IpAddress>();
  let sockets: NeighbourSockets | undefined;
  let timers: NodeJS.Timeout[] = [];
  let closing: NodeJS.Timeout | undefined;
  const ask = (): void => {
    for (const target of wanted.values()) askFor(options, sockets, target);
  };
  const hear = (): void => {
    for (const neighbour of sockets?.heard() ?? []) {
      if (wanted.has(neighbour.address)) options.onNeighbour(neighbour);
    }
  };
  const rest = (): void => {
    for (const timer of timers) clearInterval(timer);
    timers = [];
  };
  const close = (): void => {
    rest();
    clearTimeout(closing);
    sockets?.close();
    [closing, sockets] = [undefined, undefined];
  };
  return {
    close,
    want: (addresses) => {
      wanted = new Map(addresses.flatMap(parsed));
      if (wanted.size === 0) {
        rest();
        if (sockets !== undefined) closing ??= setTimeout(close, CLOSE_AFTER_MS).unref();
        return;
      }
      clearTimeout(closing);
      closing = undefined;
      if (timers.length > 0) return;
      sockets ??= openNeighbourSockets(options);
      timers = [setInterval(ask, NEIGHBOUR_RETRY_MS), setInterval(hear, POLL_MS)];
      ask();
    },
  };
}

function parsed(text: string): [string, IpAddress][] {
  const address = parseIp(text);
  return address === undefined ? [] : [[address.text, address]];
}

function askFor(options: NeighbourOptions, sockets: NeighbourSockets | undefined, target: IpAddress): void {
  const { log } = options;
  try {
    const isAsked = sockets?.ask(ownAddress(options, target), target) ?? true;
    if (!isAsked) log.warn({ address: target.text }, "can't be asked for: the interface has no IPv6 address");
  } catch (error) {
    log.debug({ address: target.text, reason: describeError(error) }, "could not be asked for");
  }
}

/** Our own address of the family that is asked for. */
function ownAddress(options: NeighbourOptions, target: IpAddress): IpAddress | undefined {
  const own = parseIp(options.address);
  if (own?.family === target.family) return own;
  const others = networkInterfaces()[options.interface] ?? [];
  return others.map(({ address }) => parseIp(address)).find((address) => address?.family === target.family);
}
