/** Health checks against real servers on the loopback interface. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer as createHttpServer, type RequestListener } from "node:http";
import { connect, createServer, type AddressInfo, type Server, type Socket } from "node:net";
import { test, type TestContext } from "node:test";
import { parseIp } from "../../../conf/address.ts";
import type { IcmpSocket } from "../../../net/icmp-socket.ts";
import { SysError } from "../../../net/ffi.ts";
import { close, listenTcp } from "../../../net/sockets.ts";
import type { CheckConfig } from "../../../net/health/asking.ts";
import { probe, startChecker } from "../../../net/health/checker.ts";
import type { CheckResult, HealthChange } from "../../../net/health/checks.ts";
import { until } from "../../scheduler/network.ts";

const ADDRESS = "127.0.0.1";
const check: CheckConfig = {
  type: "http",
  path: "/health",
  service: "",
  statuses: [200, 204],
  interval_ms: 50,
  timeout_ms: 5000,
  rise: 2,
  fall: 3,
};
const bad = (reason: string): CheckResult => ({ kind: "bad", reason });
const icmpThat = (echo: IcmpSocket["echo"]): IcmpSocket => ({ echo, close: () => {} });
const noIcmp = icmpThat(() => Promise.reject(new Error("not used")));

async function listening(t: TestContext, server: Server, host = ADDRESS, port = 0): Promise<number> {
  const sockets = new Set<Socket>();
  server.on("connection", (socket: Socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
  });
  server.listen(port, host);
  await once(server, "listening");
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}
async function httpHost(t: TestContext, answer: RequestListener, host = ADDRESS) {
  return { number: 1, address: host, port: await listening(t, createHttpServer(answer), host) };
}
async function rawHost(t: TestContext, onConnection: (socket: Socket) => void) {
  return { number: 1, address: ADDRESS, port: await listening(t, createServer(onConnection)) };
}
async function closedPort(t: TestContext): Promise<number> {
  const server = createServer();
  const port = await listening(t, server);
  server.close();
  await once(server, "close");
  return port;
}

test("http: a status of the list is good, another is told", async (t) => {
  for (const [status, expected] of [
    [200, { kind: "good" }],
    [204, { kind: "good" }],
    [503, bad("status 503")],
    [301, bad("status 301")],
  ] as const) {
    const host = await httpHost(t, (_, response) => response.writeHead(status).end());
    assert.deepEqual(await probe(host, check, noIcmp), expected);
  }
});

test("http: what is asked for is the path and the host of the configuration, by connections of their own", async (t) => {
  const asked: string[] = [];
  const answer: RequestListener = ({ method, url, headers }, response) => {
    asked.push(`${method} ${url} ${headers.host} ${headers.connection}`);
    response.end();
  };
  const host = await httpHost(t, answer);
  await probe(host, check, noIcmp);
  await probe(host, { ...check, path: "/a?b", host: "shop.example" }, noIcmp);
  const host6 = await httpHost(t, answer, "::1");
  await probe(host6, check, noIcmp);
  assert.deepEqual(asked, [
    `GET /health ${ADDRESS}:${host.port} close`,
    "GET /a?b shop.example close",
    `GET /health [::1]:${host6.port} close`,
  ]);
});

test("http: a body is passed over, however long, but it must come", async (t) => {
  const whole = await httpHost(t, (_, response) => response.end("x".repeat(10_000)));
  assert.deepEqual(await probe(whole, check, noIcmp), { kind: "good" });
  const endless = await httpHost(t, (_, response) => {
    const more = (): void => {
      while (!response.destroyed && response.write("x".repeat(10_000)));
    };
    response.on("drain", more);
    more();
  });
  assert.deepEqual(await probe(endless, check, noIcmp), { kind: "good" });
  const stalled = await httpHost(t, (_, response) => response.writeHead(200).write("x"));
  assert.deepEqual(
    await probe(stalled, { ...check, timeout_ms: 100 }, noIcmp),
    bad("no answer within 100 ms"),
  );
  const cut = await httpHost(t, (_, response) => {
    response.writeHead(200, { "content-length": "10" }).write("x");
    setTimeout(() => response.destroy(), 20);
  });
  assert.deepEqual(await probe(cut, check, noIcmp), bad("connection closed within the answer"));
});

test("http: what is wrong is told in words", async (t) => {
  const silent = await rawHost(t, () => {});
  assert.deepEqual(await probe(silent, { ...check, timeout_ms: 50 }, noIcmp), bad("no answer within 50 ms"));
  const closing = await rawHost(t, (socket) => socket.destroy());
  assert.deepEqual(await probe(closing, check, noIcmp), bad("connection closed without an answer"));
  const other = await rawHost(t, (socket) => void socket.end("SSH-2.0-x\r\n"));
  assert.deepEqual(await probe(other, check, noIcmp), bad("the answer is not HTTP"));
  const none = { number: 1, address: ADDRESS, port: await closedPort(t) };
  assert.deepEqual(await probe(none, check, noIcmp), bad("connection refused"));
});

test("tcp: a connection is enough, and the host's process is not kept busy by it", async (t) => {
  const errors: unknown[] = [];
  const host = await rawHost(t, (socket) => socket.on("error", (error) => errors.push(error)));
  const tcp: CheckConfig = { ...check, type: "tcp" };
  assert.deepEqual(await probe(host, tcp, noIcmp), { kind: "good" });
  const none = { number: 1, address: ADDRESS, port: await closedPort(t) };
  assert.deepEqual(await probe(none, tcp, noIcmp), bad("connection refused"));
});

test("tcp: a host that does not take the connection has no answer", async (t) => {
  const port = await closedPort(t);
  // Nobody accepts; with its queue full the kernel lets further questions fall.
  const listener = listenTcp(parseIp(ADDRESS)!, port, 1);
  t.after(() => close(listener));
  const fill = Array.from({ length: 4 }, () => connect(port, ADDRESS).on("error", () => {}));
  t.after(() => fill.forEach((socket) => socket.destroy()));
  await Promise.all(fill.slice(0, 2).map((socket) => once(socket, "connect")));
  const host = { number: 1, address: ADDRESS, port };
  const tcp: CheckConfig = { ...check, type: "tcp", timeout_ms: 100 };
  assert.deepEqual(await probe(host, tcp, noIcmp), bad("no answer within 100 ms"));
});

test("icmp: an answer is good, silence and errors are told, and a fault of this node's own says nothing", async () => {
  const host = { number: 1, address: "192.0.2.7", port: 80 };
  const icmp: CheckConfig = { ...check, type: "icmp", timeout_ms: 123 };
  const asked: unknown[] = [];
  const answering = icmpThat((address, timeout_ms) => {
    asked.push([address.text, timeout_ms]);
    return Promise.resolve(true);
  });
  assert.deepEqual(await probe(host, icmp, answering), { kind: "good" });
  assert.deepEqual(asked, [["192.0.2.7", 123]]);
  const silent = icmpThat(() => Promise.resolve(false));
  assert.deepEqual(await probe(host, icmp, silent), bad("no answer within 123 ms"));
  const failing = (errno: number): IcmpSocket =>
    icmpThat(() => Promise.reject(new SysError("sendto", errno)));
  assert.deepEqual(await probe(host, icmp, failing(101)), bad("no way to the host's network"));
  assert.equal((await probe(host, icmp, failing(1))).kind, "unsure");
});

test("a checker tells that a host is up, that it is down and why, and that it is back", async (t) => {
  const changes: HealthChange[] = [];
  const start = async (port: number): Promise<Server> => {
    const server = createHttpServer((_, response) => response.end());
    await listening(t, server, ADDRESS, port);
    return server;
  };
  const first = await start(0);
  const { port } = first.address() as AddressInfo;
  const refused = { number: 9, address: ADDRESS, port: await closedPort(t) };
  const checker = startChecker({
    hosts: [{ number: 4, address: ADDRESS, port }, refused],
    check,
    icmp: noIcmp,
    onChange: (change) => changes.push(change),
  });
  t.after(() => checker.stop());
  await until("both are judged", () => changes.length === 2);
  assert.deepEqual(
    changes.toSorted((a, b) => a.host - b.host),
    [
      { host: 4, isUp: true, reason: "" },
      { host: 9, isUp: false, reason: "connection refused" },
    ],
  );
  assert.equal(checker.healthOf(9)?.reason, "connection refused");
  first.close();
  await until("it is down", () => changes.length === 3);
  assert.deepEqual(changes[2], { host: 4, isUp: false, reason: "connection refused" });
  await start(port);
  await until("it is back", () => changes.length === 4);
  assert.deepEqual(changes[3], { host: 4, isUp: true, reason: "" });
  checker.stop();
  assert.equal(checker.healthOf(4)?.state, "up");
});

test("a checker that was stopped says nothing more, whatever was being asked", async (t) => {
  const changes: HealthChange[] = [];
  let sockets = 0;
  const host = await rawHost(t, (socket) => {
    sockets++;
    socket.on("close", () => sockets--).resume();
  });
  const checker = startChecker({ hosts: [host], check, icmp: noIcmp, onChange: (one) => changes.push(one) });
  await until("it is asked", () => sockets === 1);
  checker.stop();
  await until("the connection is given up", () => sockets === 0);
  assert.deepEqual(changes, []);
});
