/**
 * Finds the MAC addresses of other nodes: asks for each of those that are wanted, again and again until told. The
 * sockets exist only while something is wanted.
 */
import { networkInterfaces } from "node:os";
import { parseIp, type IpAddress } from "../../conf/address.ts";
import { describeError } from "../../conf/errors.ts";
import { NEIGHBOUR_RETRY_MS } from "../../conf/limits.ts";
import {
  ETHERTYPE_ARP,
  ETHERTYPE_IPV6,
  neighbourQuestion,
  readNeighbour,
  type Neighbour,
} from "../../net/frames.ts";
import { SysError } from "../../net/ffi.ts";
import { ONLY_ADVERTISEMENTS, openPacketSocket, type PacketSocket } from "../../net/packet-socket.ts";
import type { Logger } from "../../status/log.ts";

const POLL_MS = 5;
/**
 * Sockets that are not needed any more are closed after this: the kernel lets who closes them wait for tens of
 * milliseconds, and MAC addresses become known just when a node has begun to schedule.
 */
const CLOSE_AFTER_MS = 1000;
/** Frames taken per turn: others on the segment must not keep this process busy. */
const FRAMES_PER_POLL = 64;

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
  let sockets: PacketSocket[] = [];
  let timers: NodeJS.Timeout[] = [];
  let closing: NodeJS.Timeout | undefined;
  const ask = (): void => {
    for (const target of wanted.values()) sendQuestion(options, sockets, target);
  };
  const hear = (): void => {
    // All are read before the first is told: that may close the sockets.
    for (const neighbour of sockets.flatMap((socket) => received(options, socket))) {
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
    for (const socket of sockets) socket.close();
    [closing, sockets] = [undefined, []];
  };
  return {
    close,
    want: (addresses) => {
      wanted = new Map(addresses.flatMap(parsed));
      if (wanted.size === 0) {
        rest();
        if (sockets.length > 0) closing ??= setTimeout(close, CLOSE_AFTER_MS).unref();
        return;
      }
      clearTimeout(closing);
      closing = undefined;
      if (timers.length > 0) return;
      if (sockets.length === 0)
        sockets = [
          openPacketSocket(options.ifindex, ETHERTYPE_ARP),
          openPacketSocket(options.ifindex, ETHERTYPE_IPV6, ONLY_ADVERTISEMENTS),
        ];
      timers = [setInterval(ask, NEIGHBOUR_RETRY_MS), setInterval(hear, POLL_MS)];
      ask();
    },
  };
}

function parsed(text: string): [string, IpAddress][] {
  const address = parseIp(text);
  return address === undefined ? [] : [[address.text, address]];
}

function received(options: NeighbourOptions, socket: PacketSocket): Neighbour[] {
  const neighbours: Neighbour[] = [];
  for (let i = 0; i < FRAMES_PER_POLL; i++) {
    const frame = receive(options, socket);
    if (frame === undefined) break;
    const neighbour = readNeighbour(frame);
    if (neighbour !== undefined) neighbours.push(neighbour);
  }
  return neighbours;
}

/** An interface that goes down is told of once, instead of a frame. */
function receive({ log }: NeighbourOptions, socket: PacketSocket): Buffer | undefined {
  try {
    return socket.receive();
  } catch (error) {
    if (!(error instanceof SysError)) throw error;
    log.debug({ reason: describeError(error) }, "no answers can be heard now");
    return undefined;
  }
}

function sendQuestion(options: NeighbourOptions, sockets: readonly PacketSocket[], target: IpAddress): void {
  const question = neighbourQuestion(options.mac, ownAddress(options, target), target);
  if (question === undefined) {
    options.log.warn({ address: target.text }, "can't be asked for: the interface has no IPv6 address");
    return;
  }
  try {
    sockets[target.family === 4 ? 0 : 1]?.send(question);
  } catch (error) {
    options.log.debug({ address: target.text, reason: describeError(error) }, "could not be asked for");
  }
}

/** Our own address of the family that is asked for. */
function ownAddress(options: NeighbourOptions, target: IpAddress): IpAddress | undefined {
  const own = parseIp(options.address);
  if (own?.family === target.family) return own;
  const others = networkInterfaces()[options.interface] ?? [];
  return others.map(({ address }) => parseIp(address)).find((address) => address?.family === target.family);
}
