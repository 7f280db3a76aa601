/** Real connections in a network namespace of the test's own. Needs root. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { connect, createServer, type Server, type Socket } from "node:net";
import { before, test, type TestContext } from "node:test";
import { formatIp, parseIp, type IpAddress } from "../../conf/address.ts";
import { bind, checked, libc, nativeMemory } from "../../net/ffi.ts";
import { eachTcpSocket, TCP_STATES, type LocalService } from "../../net/sock-diag.ts";
import { close, listenTcp } from "../../net/sockets.ts";
import { until } from "../scheduler/network.ts";
import { enterOwnNetwork, ip } from "./network-namespace.ts";

const VIP = "192.0.2.100";
const VIP6 = "2001:db8::100";
const address = (text: string): IpAddress => parseIp(text)!;
const service = (text: string, port: number): LocalService => ({ address: address(text), port });

before(() => {
  enterOwnNetwork();
  ip(`addr add ${VIP}/32 dev lo`);
  ip(`addr add ${VIP6}/128 dev lo nodad`);
});

async function serve(t: TestContext, host: string, port: number): Promise<Server> {
  const server = createServer({ allowHalfOpen: true }).listen(port, host);
  await once(server, "listening");
  t.after(() => server.close());
  return server;
}
async function client(t: TestContext, host: string, port: number): Promise<Socket> {
  const socket = connect({ host, port, allowHalfOpen: true });
  await once(socket, "connect");
  t.after(() => socket.destroy());
  return socket;
}
/** One line per connection: the service's index, the client and the state. */
async function connections(services: readonly LocalService[]): Promise<string[]> {
  const lines: string[] = [];
  const count = await eachTcpSocket(services, ({ service, family, remote, remotePort, state }) => {
    assert.ok(family === 6 || remote.subarray(4).every((byte) => byte === 0));
    const name = Object.entries(TCP_STATES).find(([, value]) => value === state)?.[0];
    lines.push(`${service} ${formatIp(remote, family)} ${remotePort} ${name}`);
  });
  assert.equal(count, lines.length);
  return lines.toSorted();
}

test("connections to a service are told with their client, whatever the family", async (t) => {
  await serve(t, VIP, 80);
  await serve(t, VIP6, 80);
  await serve(t, "127.0.0.1", 80);
  const clients = [await client(t, VIP, 80), await client(t, VIP6, 80), await client(t, VIP6, 80)];
  await client(t, "127.0.0.1", 80);
  const [first, second, third] = clients.map(({ localPort }) => localPort);
  assert.deepEqual(
    await connections([service(VIP6, 80), service(VIP, 80), service(VIP, 443)]),
    [
      `0 ${VIP6} ${second} ESTABLISHED`,
      `0 ${VIP6} ${third} ESTABLISHED`,
      `1 ${VIP} ${first} ESTABLISHED`,
    ].toSorted(),
  );
  assert.deepEqual(await connections([service(VIP, 81)]), []);
  assert.deepEqual(await connections([]), []);
});

test("an IPv4 connection on an IPv6 socket is one of IPv4", async (t) => {
  await serve(t, "::", 82);
  const { localPort } = await client(t, VIP, 82);
  assert.deepEqual(await connections([service(VIP, 82), service(VIP6, 82)]), [
    `0 ${VIP} ${localPort} ESTABLISHED`,
  ]);
});

test("a connection is told until it is closed on both sides", async (t) => {
  const server = await serve(t, VIP, 83);
  const accepted = once(server, "connection") as Promise<[Socket]>;
  const socket = await client(t, VIP, 83);
  const [peer] = await accepted;
  const services = [service(VIP, 83)];
  const line = (state: string): string[] => [`0 ${VIP} ${socket.localPort} ${state}`];
  socket.end();
  peer.resume();
  await once(peer, "end");
  assert.deepEqual(await connections(services), line("CLOSE_WAIT"));
  const second = once(server, "connection") as Promise<[Socket]>;
  const other = await client(t, VIP, 83);
  const [otherPeer] = await second;
  otherPeer.end();
  other.resume();
  await once(other, "end");
  // Which of the two depends on when the client's kernel acknowledges.
  const told = (await connections(services)).map((text) => text.replace(/FIN_WAIT[12]/, "FIN_WAIT"));
  assert.deepEqual(told, [...line("CLOSE_WAIT"), `0 ${VIP} ${other.localPort} FIN_WAIT`].toSorted());
  // Closed on both sides, it is in TIME_WAIT where it was closed first: on the server.
  other.end();
  peer.end();
  await Promise.all([once(other, "close"), once(otherPeer, "close"), once(peer, "close")]);
  await until("nothing is told", async () => (await connections(services)).length === 0);
});

test("a connection that is being accepted is told as SYN_RECV", async (t) => {
  const IPPROTO_TCP = 6;
  const TCP_DEFER_ACCEPT = 9;
  const setOption = bind<[number, number, number, number, number], number>(
    libc(),
    "int setsockopt(int fd, int level, int name, uintptr_t value, uint32_t length)",
  );
  const listener = listenTcp(address(VIP), 84, 16);
  t.after(() => close(listener));
  const seconds = nativeMemory(4);
  seconds.view.setInt32(0, 30, true);
  // Then the connection is not made before the client's first byte.
  checked("setsockopt", setOption(listener, IPPROTO_TCP, TCP_DEFER_ACCEPT, seconds.address, 4));
  const { localPort } = await client(t, VIP, 84);
  assert.deepEqual(await connections([service(VIP, 84)]), [`0 ${VIP} ${localPort} SYN_RECV`]);
});

test("20,000 connections are told in time, each once, and the process goes on meanwhile", async (t) => {
  const COUNT = 20_000;
  writeFileSync("/proc/sys/net/core/somaxconn", `${COUNT}`);
  writeFileSync("/proc/sys/net/ipv4/ip_local_port_range", "2000 65000");
  const listener = listenTcp(address(VIP), 85, COUNT);
  t.after(() => close(listener));
  // Nobody accepts, and the clients close: the listener's side stays, in CLOSE_WAIT, and needs no descriptors.
  const come = async (): Promise<void> => {
    const socket = connect({ host: VIP, port: 85 });
    await once(socket, "connect");
    socket.destroy();
  };
  for (let i = 0; i < COUNT; i += 200) await Promise.all(Array.from({ length: 200 }, come));
  const services = [service(VIP6, 85), service(VIP, 85)];
  const took_ms: number[] = [];
  for (let round = 0; round < 5; round++) {
    const seen = new Uint8Array(65_536);
    let turns = 0;
    const ticking = setInterval(() => turns++, 1);
    const started_ms = performance.now();
    await eachTcpSocket(services, ({ service, remotePort }) => {
      assert.equal(service, 1);
      seen[remotePort]!++;
    });
    took_ms.push(performance.now() - started_ms);
    clearInterval(ticking);
    assert.equal(seen.filter((count) => count === 1).length, COUNT);
    assert.ok(turns >= 3, `${turns} turns`);
  }
  t.diagnostic(`20,000 connections: ${Math.min(...took_ms).toFixed(1)} ms at best`);
  // Some 50 ms; a look-up of each by itself would take minutes.
  assert.ok(Math.min(...took_ms) < 10_000);
});

test("a connection that its process has closed is told as an orphan while it waits for the other side", async (t) => {
  const server = await serve(t, VIP, 84);
  const accepted = once(server, "connection");
  await client(t, VIP, 84);
  const [socket]: Socket[] = await accepted;
  const orphans = async (): Promise<string[]> => {
    const lines: string[] = [];
    await eachTcpSocket([service(VIP, 84)], ({ state, isOrphan }) => lines.push(`${state} ${isOrphan}`));
    return lines;
  };
  assert.deepEqual(await orphans(), [`${TCP_STATES.ESTABLISHED} false`]);
  socket?.end();
  socket?.once("finish", () => socket.destroy());
  await until("it is closed on this side", async () => {
    return (await orphans()).join() === `${TCP_STATES.FIN_WAIT2} true`;
  });
});
