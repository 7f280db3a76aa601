/** TLS to web servers, with real ones on loopback: who is believed, what comes of who isn't, and death in every phase. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer as createHttpsServer } from "node:https";
import type { AddressInfo, Server, Socket } from "node:net";
import { after, describe, test } from "node:test";
import { createServer as createTlsServer, type TlsOptions, type TLSSocket } from "node:tls";
import { workerReport } from "../../../dlba-server/report.ts";
import { makeCa, makeSelfSigned, makeSigned, type KeyPair } from "../../certificates.ts";
import { exchange, freePort, rawServer, startRig, until, webServer, type RigOptions } from "../engine/rig.ts";

const ca = makeCa();
const named = makeSigned(ca, "DNS:web.test");
const GET = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
const verified = { ca: ca.certificate, server_name: "web.test" };

const filesOf = ({ certificate, key }: KeyPair): TlsOptions => ({
  cert: readFileSync(certificate),
  key: readFileSync(key),
});

async function portOf(server: Server): Promise<number> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  after(() => server.close());
  return (server.address() as AddressInfo).port;
}

/** A web server that answers with what it knows of the connection. */
async function httpsServer(pair: KeyPair, options: TlsOptions = {}) {
  const connections: TLSSocket[] = [];
  const resumed: boolean[] = [];
  const server = createHttpsServer({ ...filesOf(pair), ...options }, (request, response) => {
    const socket = request.socket as TLSSocket;
    const subject = String(socket.getPeerCertificate().subject?.CN ?? "none");
    response.end(`served ${socket.servername} ${socket.alpnProtocol} ${subject}`);
  });
  server.on("secureConnection", (socket: TLSSocket) => {
    connections.push(socket);
    resumed.push(socket.isSessionReused());
  });
  return { port: await portOf(server), connections, resumed };
}

/** One below HTTP: what it says is up to the test. */
async function rawTls(onConnection: (socket: TLSSocket) => void): Promise<number> {
  const server = createTlsServer(filesOf(named), (socket) => {
    socket.on("error", () => {});
    onConnection(socket);
  });
  server.on("tlsClientError", () => {});
  return portOf(server);
}

async function withRig(
  options: RigOptions,
  act: (rig: Awaited<ReturnType<typeof startRig>>) => Promise<void>,
): Promise<void> {
  const rig = await startRig({ ...options, timeouts: { connect_ms: 20_000, ...options.timeouts } });
  try {
    await act(rig);
  } finally {
    await rig.stop();
  }
}

const good = await httpsServer(named, { ALPNProtocols: ["http/1.1"] });
const plain = await webServer((_request, response) => void response.end("plain"));
after(() => plain.server.close());

test("requests go over TLS to a web server that proves its name", async () => {
  await withRig({ serverPorts: [good.port], pool: { tls: verified } }, async ({ httpPort }) => {
    assert.match(await exchange(httpPort, GET), /^HTTP\/1\.1 200 .*served web\.test http\/1\.1 none$/s);
  });
});

test("one that is known by its address needs no name", async () => {
  const { port } = await httpsServer(makeSigned(ca, "IP:127.0.0.1"));
  await withRig({ serverPorts: [port], pool: { tls: { ca: ca.certificate } } }, async ({ httpPort }) => {
    assert.match(await exchange(httpPort, GET), /^HTTP\/1\.1 200 .*served false/s);
  });
});

test("each web server may have a name of its own", async () => {
  const { port } = await httpsServer(makeSigned(ca, "DNS:one.test"));
  const servers = [{ server_name: "one.test" }];
  await withRig({ serverPorts: [port], servers, pool: { tls: verified } }, async ({ httpPort }) => {
    assert.match(await exchange(httpPort, GET), /served one\.test/);
  });
});

test("our certificate is shown to who asks for one", async () => {
  const asking = { requestCert: true, rejectUnauthorized: true, ca: readFileSync(ca.certificate) };
  const { port } = await httpsServer(named, asking);
  const own = makeSigned(ca, "DNS:array.test");
  await withRig({ serverPorts: [port], pool: { tls: { ...verified, ...own } } }, async ({ httpPort }) => {
    assert.match(await exchange(httpPort, GET), /served web\.test .* test$/);
  });
});

test("connections are kept, and new ones resume the session of the last", async () => {
  const { port, connections, resumed } = await httpsServer(named);
  await withRig({ serverPorts: [port], pool: { tls: verified } }, async ({ httpPort, worker }) => {
    const [server] = worker.pools[0]!.servers;
    const pipelined = GET.replace("Connection: close\r\n", "").repeat(3) + GET;
    assert.equal((await exchange(httpPort, pipelined)).split("served").length, 5);
    assert.equal(connections.length, 1);
    await until(() => server!.idle.length === 1, "the connection is kept");
    // Let go of by the web server, so that the next request needs a new one.
    connections[0]!.end();
    await until(() => server!.idle.length === 0, "the connection is gone");
    assert.match(await exchange(httpPort, GET), /served/);
    assert.deepEqual(resumed, [false, true]);
  });
});

describe("a web server that is not believed is passed over, and the table says why", () => {
  const cases: readonly [what: string, pair: KeyPair, reason: string][] = [
    ["with another name", makeSigned(ca, "DNS:other.test"), "TLS: hostname mismatch"],
    ["whose certificate has expired", makeSigned(ca, "DNS:web.test", -1), "TLS: certificate has expired"],
    ["that signed its own certificate", makeSelfSigned("DNS:web.test"), "TLS: self-signed certificate"],
    [
      "of an unknown authority",
      makeSigned(makeCa(), "DNS:web.test"),
      "TLS: unable to get local issuer certificate",
    ],
  ];
  for (const [what, pair, reason] of cases) {
    test(what, async () => {
      const { port } = await httpsServer(pair);
      await withRig({ serverPorts: [port, good.port], pool: { tls: verified } }, async (rig) => {
        for (let i = 0; i < 2; i++) assert.match(await exchange(rig.httpPort, GET), /served web\.test/);
        const row = workerReport(rig.worker).web_servers[0]!;
        assert.deepEqual([row.state, row.reason, row.is_up], ["passed over", reason, false]);
        assert.equal(row.hits, 0, "nothing of a request was told to it");
      });
    });
  }

  test("who is alone: 503, and when to come again", async () => {
    const { port } = await httpsServer(makeSelfSigned("DNS:web.test"));
    await withRig({ serverPorts: [port], pool: { tls: verified } }, async ({ httpPort }) => {
      assert.match(await exchange(httpPort, GET), /^HTTP\/1\.1 503 .*Retry-After: \d+/s);
    });
  });

  test("unless nothing is to be verified", async () => {
    const { port } = await httpsServer(makeSelfSigned("DNS:elsewhere.test"));
    await withRig({ serverPorts: [port], pool: { tls: { verify: false } } }, async ({ httpPort }) => {
      assert.match(await exchange(httpPort, GET), /served/);
    });
  });
});

const passedOver = async (port: number, reason: RegExp, timeouts = {}): Promise<void> => {
  const options = { serverPorts: [port, good.port], pool: { tls: verified }, timeouts };
  await withRig(options, async ({ httpPort, worker }) => {
    assert.match(await exchange(httpPort, GET), /served web\.test/);
    assert.match(workerReport(worker).web_servers[0]!.reason, reason);
  });
};

describe("a web server that dies", () => {
  test("before the handshake's first byte is passed over", async () => {
    const { server, port } = await rawServer((socket) => void socket.once("data", () => socket.destroy()));
    after(() => server.close());
    await passedOver(port, /^TLS: .*closed/);
  });

  test("in the midst of the handshake is passed over", async () => {
    const { server, port } = await rawServer(
      (socket) => void socket.once("data", () => socket.end(Buffer.from([22, 3, 3, 0, 90, 2, 0]))),
    );
    after(() => server.close());
    await passedOver(port, /^TLS: /);
  });

  test("or says nothing in the handshake is passed over when its time is up", async () => {
    const sockets: Socket[] = [];
    const { server, port } = await rawServer((socket) => void sockets.push(socket));
    after(() => {
      for (const socket of sockets) socket.destroy();
      server.close();
    });
    await passedOver(port, /^TLS: no handshake in time$/, { connect_ms: 1500 });
  });

  test("or speaks no TLS is passed over", async () => {
    await passedOver(plain.port, /^TLS: /);
    await passedOver(await freePort(), /ECONNREFUSED/);
  });

  test("after the request, without a byte: another one is asked", async () => {
    const port = await rawTls((socket) => void socket.once("data", () => socket.destroy()));
    const options = { serverPorts: [port, good.port], pool: { tls: verified } };
    await withRig(options, async ({ httpPort }) => {
      assert.match(await exchange(httpPort, GET), /served web\.test/);
    });
  });

  test("in the midst of a response: the client sees that it is not whole", async () => {
    const port = await rawTls((socket) => {
      socket.once("data", () => {
        socket.write("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf", () => socket.destroy());
      });
    });
    await withRig({ serverPorts: [port], pool: { tls: verified } }, async ({ httpPort, worker }) => {
      await exchange(httpPort, GET);
      assert.equal(worker.pools[0]!.servers[0]!.counters.server_aborts, 1);
    });
  });

  test("whose end is said to be the response's is believed; whoever only cuts the connection is not", async () => {
    const head = "HTTP/1.1 200 OK\r\n\r\nuntil the end";
    const ending = await rawTls((socket) => void socket.once("data", () => socket.end(head)));
    const sockets = new WeakMap<TLSSocket, Socket>();
    const server = createTlsServer(filesOf(named), (socket) => {
      socket.on("error", () => {});
      // The socket below is closed, and no word of it within TLS.
      socket.once("data", () => socket.write(head, () => sockets.get(socket)?.end()));
    });
    server.on("connection", (raw: Socket) => {
      server.once("secureConnection", (socket: TLSSocket) => sockets.set(socket, raw));
    });
    const cutting = await portOf(server);
    await withRig({ serverPorts: [ending], pool: { tls: verified } }, async ({ httpPort }) => {
      assert.match(await exchange(httpPort, GET), /until the end$/);
    });
    await withRig({ serverPorts: [cutting], pool: { tls: verified } }, async ({ httpPort, worker }) => {
      await exchange(httpPort, GET);
      assert.equal(worker.pools[0]!.servers[0]!.counters.response_failures, 1);
    });
  });
});

test("the PROXY header comes before TLS", async () => {
  let first = "";
  const inner = createHttpsServer(filesOf(named), (_request, response) => void response.end("behind"));
  after(() => inner.close());
  const { server, port } = await rawServer((socket) => {
    socket.once("readable", () => {
      const bytes = socket.read() as Buffer;
      const end = bytes.indexOf("\r\n") + 2;
      first = bytes.latin1Slice(0, end);
      socket.unshift(bytes.subarray(end));
      inner.emit("connection", socket);
    });
  });
  after(() => server.close());
  const options = { serverPorts: [port], pool: { tls: verified, send_proxy: "v1" } };
  await withRig(options, async ({ httpPort }) => {
    assert.match(await exchange(httpPort, GET), /behind$/);
    assert.match(first, new RegExp(`^PROXY TCP4 127\\.0\\.0\\.1 127\\.0\\.0\\.1 \\d+ ${httpPort}\r\n$`));
  });
});

/** Answers with many records of 900 bytes, nine at a time, so that one is left over of the reads that a turn has. */
const IN_RECORDS = `
  const { createServer } = require("node:tls");
  const { readFileSync } = require("node:fs");
  const [cert, key] = process.argv.slice(1).map((file) => readFileSync(file));
  const server = createServer({ cert, key }, (socket) => {
    socket.on("error", () => {});
    socket.on("data", () => {
      socket.write("HTTP/1.1 200 OK\\r\\nContent-Length: 2430000\\r\\n\\r\\n");
      let left = 300;
      const next = () => {
        for (let i = 0; i < 9; i++) socket.write(Buffer.alloc(900));
        if (--left > 0) setImmediate(next);
      };
      next();
    });
  });
  server.listen(0, "127.0.0.1", () => process.send(server.address().port));
`;

test("responses in many small records arrive whole, however records and turns come to lie", async (t) => {
  const child = spawn(process.execPath, ["-e", IN_RECORDS, named.certificate, named.key], {
    stdio: ["ignore", "inherit", "inherit", "ipc"],
  });
  t.after(() => child.kill());
  const [port] = (await once(child, "message")) as [number];
  await withRig({ serverPorts: [port], pool: { tls: verified } }, async (rig) => {
    for (let i = 0; i < 8; i++) {
      const said = await exchange(rig.httpPort, GET);
      assert.equal(said.length - said.indexOf("\r\n\r\n") - 4, 2_430_000, `response ${i}`);
    }
  });
});
