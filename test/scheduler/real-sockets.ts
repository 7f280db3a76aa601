/**
 * Connections of this machine for the program to find: in a network namespace of this process' own, with the VIPs on
 * `lo` and a pair of interfaces whose far end (a client that is made of frames) the test plays itself.
 */
import assert from "node:assert/strict";
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { connect, createServer, type Server, type Socket } from "node:net";
import { bind, checked, libc } from "../../net/ffi.ts";
import { readInterface } from "../../net/interface.ts";
import { openPacketSocket } from "../../net/packet-socket.ts";
import * as f from "./frames.ts";
import { ip, until } from "./network.ts";
import { nextSequence } from "./receive-window.ts";
import { CONNECTED_PORT, PORTS } from "./packet-rows.ts";

const CLONE_NEWNET = 0x40000000;
const FAR = "far0";
const NEAR = "near0";
/** The client behind the far end, by family; it has no kernel. */
export const FAR_CLIENT = { 4: "11.9.0.1", 6: "2001:db8:9::1" } as const;
const ACK = 0x10;
const SYN = 0x02;

/** Moves this thread, and what it starts from now on, into a new network namespace. */
export function enterOwnNamespace(): void {
  const unshare = bind<[number], number>(libc(), "int unshare(int flags)");
  checked("unshare", unshare(CLONE_NEWNET), "network");
  ip("link set lo up");
  for (const address of [f.VIP, f.CLIENT]) ip(`addr add ${address}/32 dev lo`);
  for (const address of [f.VIP6, f.CLIENT6]) ip(`addr add ${address}/128 dev lo nodad`);
  ip(`link add ${FAR} type veth peer name ${NEAR}`);
  for (const name of [FAR, NEAR]) ip(`link set ${name} up`);
  ip(`addr add 11.9.0.254/24 dev ${NEAR}`);
  ip(`addr add 2001:db8:9::fe/64 dev ${NEAR} nodad`);
  const { mac } = readInterface(FAR);
  const lladdr = [...mac].map((byte) => byte.toString(16).padStart(2, "0")).join(":");
  for (const client of Object.values(FAR_CLIENT)) {
    ip(`neigh replace ${client} lladdr ${lladdr} dev ${NEAR} nud permanent`);
  }
}

/** 0: never, 1: when the queue of half-open connections is full, 2: always. */
export const setSynCookies = (value: 0 | 1 | 2): void =>
  writeFileSync("/proc/sys/net/ipv4/tcp_syncookies", String(value));

export interface RealSockets {
  /**
   * The packet with the sequence number that its connection expects next, or so many further on, if it is of one and no
   * SYN: packets are made without.
   */
  readonly sequenced: (packet: Buffer, further?: number) => Buffer;
  close(): Promise<void>;
}

const HOSTS = [
  [f.VIP, f.CLIENT],
  [f.VIP6, f.CLIENT6],
] as const;

/** Listens on the VIPs' port 80 and the direct pool's, with one connection from each client address' `CONNECTED_PORT`. */
export async function openSockets(): Promise<RealSockets> {
  const servers: Server[] = [];
  const sockets: Socket[] = [];
  const known: { readonly client: Buffer; readonly ports: Buffer; readonly next: number }[] = [];
  for (const [host, localAddress] of HOSTS) {
    for (const port of [PORTS.http, PORTS.direct]) {
      const server = createServer();
      servers.push(server);
      server.listen(port, host);
      await once(server, "listening");
      const socket = connect({ host, port, localAddress, localPort: CONNECTED_PORT });
      const [[accepted]] = await Promise.all([once(server, "connection"), once(socket, "connect")]);
      sockets.push(socket, accepted);
      const next = nextSequence(accepted);
      known.push({ client: f.ip(localAddress), ports: f.tcp(CONNECTED_PORT, port).subarray(0, 8), next });
    }
  }
  return {
    sequenced: (packet, further = 0) => {
      const copy = Buffer.from(packet);
      for (const { client, ports, next } of known) {
        const at = copy.indexOf(ports);
        const isOfOne = at !== -1 && copy.includes(client) && copy[at + 13] !== SYN;
        if (isOfOne) copy.writeUInt32BE((next + further) >>> 0, at + 4);
      }
      return copy;
    },
    close: async () => {
      for (const socket of sockets) socket.destroy();
      for (const server of servers) await new Promise((done) => server.close(done));
    },
  };
}

/** A connection of each family that the server's side has closed first: the kernel keeps it in TIME_WAIT for a minute. */
export async function leaveInTimeWait(localPort: number): Promise<void> {
  for (const [vip, client] of HOSTS) {
    // On another port for the server's end to close at once; both ends are in this namespace.
    const server = createServer((socket) => socket.end());
    server.listen(PORTS.deaf, vip);
    await once(server, "listening");
    const socket = connect({ host: vip, port: PORTS.deaf, localAddress: client, localPort });
    socket.resume();
    await once(socket, "close");
    await new Promise((done) => server.close(done));
  }
}

/** How many connections of this client port are in TIME_WAIT, on the server's side. */
export function countTimeWait(clientPort: number): number {
  const port = clientPort.toString(16).toUpperCase().padStart(4, "0");
  const lines = ["tcp", "tcp6"].flatMap((name) =>
    readFileSync(`/proc/thread-self/net/${name}`, "latin1").split("\n"),
  );
  return lines.filter((line) => new RegExp(`:${port} 06 `).test(line)).length;
}

/** The far client's first two segments of a connection to port 80, as frames to `near0`. */
export interface HalfOpen {
  /** Answers the server's SYN; `off` is added to the number that it acknowledges. */
  readonly ack: (flags?: number, off?: number) => Buffer;
}

const sequence = 0x1234_5678;

function farFrame(family: 4 | 6, port: number, flags: number, acknowledged: number): Buffer {
  const isFirst = (flags & ACK) === 0;
  const segment = f.tcp(port, PORTS.http, flags, {
    sequence: isFirst ? sequence : sequence + 1,
    acknowledged,
  });
  const ends = { from: FAR_CLIENT[family] };
  return f.checksummed(family === 4 ? f.ip4(6, segment, ends) : f.ip6(6, segment, ends));
}

/** Sends a SYN from the far client, waits for the answer, and leaves it at that. */
export async function halfOpen(family: 4 | 6, port: number): Promise<HalfOpen> {
  const type = family === 4 ? f.IPV4 : f.IPV6;
  const far = readInterface(FAR);
  const near = readInterface(NEAR);
  const socket = openPacketSocket(far.ifindex, type);
  try {
    const packet = farFrame(family, port, 2, 0);
    socket.send(Buffer.concat([near.mac, far.mac, f.u16(type), packet]));
    let answered: number | undefined;
    await until("the SYN is answered", () => {
      for (let frame = socket.receive(); frame !== undefined; frame = socket.receive()) {
        answered ??= sequenceOfAnswer(frame.subarray(family === 4 ? 34 : 54), port);
      }
      return answered !== undefined;
    });
    assert.ok(answered !== undefined);
    const next = (answered + 1) >>> 0;
    return {
      ack: (flags = ACK, off = 0) => f.eth(type, farFrame(family, port, flags, (next + off) >>> 0)),
    };
  } finally {
    socket.close();
  }
}

function sequenceOfAnswer(segment: Buffer, port: number): number | undefined {
  const isAnswer = segment.length >= 20 && segment.readUInt16BE(2) === port && segment[13] === 0x12;
  return isAnswer ? segment.readUInt32BE(4) : undefined;
}
