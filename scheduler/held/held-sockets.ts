/**
 * Which buckets this node still has connections of: the scheduler may not forget it as their previous node before they
 * have ended. Pure: connections in, a bitmap out; net/sock-diag.ts brings the connections.
 */
import type { Family } from "../../conf/address.ts";
import type { VserverConfig } from "../../conf/schema.ts";
import { TCP_STATES, type TcpSocket } from "../../net/sock-diag.ts";

export interface HeldSocketsOptions {
  /** Buckets of the array's nodes. */
  readonly tableSize: number;
  /** What of a client each service hashes; in the order of the services that connections are told of. */
  readonly hashes: readonly VserverConfig["hash"][];
  /** A client's bucket. Its address stands in 16 bytes, IPv4 in the first four. */
  readonly bucketOf: (
    address: Uint8Array,
    family: Family,
    port: number,
    hash: VserverConfig["hash"],
  ) => number;
  /** Whether a bucket is not this node's. */
  readonly isElsewhere: (bucket: number) => boolean;
}
export interface HeldSockets {
  /** Open connections to the VIPs on this node, of any bucket; not those that are only being opened, or all but over. */
  readonly connections: number;
  /**
   * A bit for each bucket that is not this node's and that it has connections of, lowest bit first. Undefined
   * after the first round: the kernel's list may leave one out that is there, but hardly twice.
   */
  readonly bits: Uint8Array | undefined;
}
export interface SocketRounds {
  /** A connection, in a round. */
  readonly take: (
    socket: Pick<TcpSocket, "service" | "remote" | "family" | "remotePort" | "state" | "isOrphan">,
  ) => void;
  /** The round is over, and the next one begins. */
  readonly end: () => HeldSockets;
  /** The round was broken off: nothing of it counts, and the next one begins. */
  readonly drop: () => void;
}

/** Takes in rounds of connections. */
export function createSocketRounds(options: HeldSocketsOptions): SocketRounds {
  const { tableSize, hashes, bucketOf, isElsewhere } = options;
  const bytes = Math.ceil(tableSize / 8);
  let former: Uint8Array | undefined;
  let current = new Uint8Array(bytes);
  let connections = 0;
  const drop = (): void => {
    current = new Uint8Array(bytes);
    connections = 0;
  };
  return {
    drop,
    take: ({ service, remote, family, remotePort, state, isOrphan }) => {
      // Half-open ones come without end while somebody floods: nobody could wait for the last of them. And one that this
      // node has closed, with all of its data acknowledged, only waits for the other side's last word.
      const isOver = state === TCP_STATES.FIN_WAIT2 && isOrphan;
      if (state !== TCP_STATES.SYN_RECV && !isOver) connections++;
      const bucket = bucketOf(remote, family, remotePort, hashes[service] ?? "address-and-port");
      current[bucket >> 3]! |= 1 << (bucket & 7);
    },
    end: () => {
      const held = { connections, bits: former && stillHeld(former, current, isElsewhere) };
      former = current;
      drop();
      return held;
    },
  };
}

/** Of the buckets seen in either round, those that count. All were noted: which ones count may have changed since. */
function stillHeld(
  former: Uint8Array,
  current: Uint8Array,
  isElsewhere: (bucket: number) => boolean,
): Uint8Array {
  return current.map((byte, at) => {
    const seen = byte | former[at]!;
    let held = 0;
    for (let bit = 0; seen >> bit !== 0; bit++) {
      if ((seen >> bit) & 1 && isElsewhere(at * 8 + bit)) held |= 1 << bit;
    }
    return held;
  });
}
