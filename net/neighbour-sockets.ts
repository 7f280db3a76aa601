/** A segment's ARP and neighbour messages: questions of our own, and what anybody says of himself. */
import { ETHERTYPE_ARP, ETHERTYPE_IPV6, neighbourQuestion, readNeighbour, type Neighbour } from "./frames.ts";
import { SysError } from "./ffi.ts";
import type { IpAddress } from "../conf/address.ts";
import { ONLY_ADVERTISEMENTS, openPacketSocket, type PacketSocket } from "./packet-socket.ts";

/** Frames taken per call and socket: others on the segment must not keep a process busy. */
const FRAMES_AT_ONCE = 64;

export interface NeighbourSockets {
  /**
   * Asks for an address. False when there is no `own` address of its family, which a question needs. Throws SysError
   * when it can't be sent: the interface is down, for instance.
   */
  ask(own: IpAddress | undefined, target: IpAddress): boolean;
  /** What has been heard since the last call, or the first of it. */
  heard(): Neighbour[];
  close(): void;
}

/** Opens the sockets. Throws SysError (EPERM without CAP_NET_RAW). */
export function openNeighbourSockets({
  ifindex,
  mac,
}: {
  readonly ifindex: number;
  readonly mac: Uint8Array;
}): NeighbourSockets {
  const arp = openPacketSocket(ifindex, ETHERTYPE_ARP);
  const advertisements = openPacketSocket(ifindex, ETHERTYPE_IPV6, ONLY_ADVERTISEMENTS);
  return {
    ask: (own, target) => {
      const question = neighbourQuestion(mac, own, target);
      if (question === undefined) return false;
      (target.family === 4 ? arp : advertisements).send(question);
      return true;
    },
    // All are read before the first is told: that may close the sockets.
    heard: () => [arp, advertisements].flatMap(received),
    close: () => {
      arp.close();
      advertisements.close();
    },
  };
}

function received(socket: PacketSocket): Neighbour[] {
  const neighbours: Neighbour[] = [];
  for (let i = 0; i < FRAMES_AT_ONCE; i++) {
    const frame = receive(socket);
    if (frame === undefined) break;
    const neighbour = readNeighbour(frame);
    if (neighbour !== undefined) neighbours.push(neighbour);
  }
  return neighbours;
}

/** A socket tells once, instead of a frame, that its interface went down, and goes on when that is up again. */
function receive(socket: PacketSocket): Buffer | undefined {
  try {
    return socket.receive();
  } catch (error) {
    if (error instanceof SysError) return undefined;
    throw error;
  }
}
