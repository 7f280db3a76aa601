/** The client's side of TLS, against Node's server on loopback. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { describe, test, type TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { createServer, type TlsOptions, type TLSSocket } from "node:tls";
import { parseIp } from "../../conf/address.ts";
import { nativeMemory } from "../../net/ffi.ts";
import {
  connectSsl,
  createClientContext,
  freeSession,
  handshakeFailure,
  systemCaFile,
  takeSession,
  type ClientContextOptions,
  type Expected,
  type SslSession,
} from "../../net/openssl-client.ts";
import * as openssl from "../../net/openssl.ts";
import { close, connectTcp } from "../../net/sockets.ts";
import { makeCa, makeSelfSigned, makeSigned, type KeyPair } from "../certificates.ts";

const ca = makeCa();
const authorities = ({ certificate: name }: KeyPair) => ({ name, bytes: readFileSync(name) });
const pairOf = ({ certificate, key }: KeyPair) => ({
  name: certificate,
  certificate: readFileSync(certificate),
  key: readFileSync(key),
});
const named = makeSigned(ca, "DNS:web.test,DNS:*.wild.test");
const addressed = makeSigned(ca, "IP:127.0.0.1");

interface Place {
  readonly port: number;
  readonly sockets: TLSSocket[];
}

async function listening(t: TestContext, pair: KeyPair, options: TlsOptions = {}): Promise<Place> {
  const sockets: TLSSocket[] = [];
  const cert = readFileSync(pair.certificate);
  const server = createServer({ cert, key: readFileSync(pair.key), ...options }, (socket) => {
    sockets.push(socket);
    socket.on("error", () => {}).write("hello");
  });
  server.on("tlsClientError", () => {}).listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { port: (server.address() as AddressInfo).port, sockets };
}

/** Waits for a call to come to its end, which another turn of the loop brings nearer. */
async function finished(ssl: number, call: () => number): Promise<number> {
  for (let tries = 0; tries < 5000; tries++) {
    const result = call();
    const reason = result > 0 ? 0 : openssl.sslError(ssl, result);
    if (reason !== openssl.SSL_ERROR_WANT_READ && reason !== openssl.SSL_ERROR_WANT_WRITE) return result;
    await sleep(2);
  }
  throw new Error("nothing came of it");
}

interface Outcome {
  readonly failure: string;
  readonly isResumed: boolean;
  readonly session: SslSession;
}
const bytes = nativeMemory(64);

/** A ticket may come behind the first bytes. */
async function ticketOf(ssl: number): Promise<SslSession> {
  for (let tries = 0; tries < 100; tries++) {
    const session = takeSession(ssl);
    if (session !== 0) return session;
    await sleep(5);
    openssl.sslRead(ssl, bytes.address, 64);
  }
  return 0;
}

/** A connection from its start to its end: the handshake, five bytes of the server's, its session. */
async function connected(
  { port }: Place,
  options: Partial<ClientContextOptions>,
  expected: Expected,
  session: SslSession = 0,
): Promise<Outcome> {
  const context = createClientContext({ ca: authorities(ca), protocols: ["http/1.1"], ...options });
  const fd = connectTcp(parseIp("127.0.0.1")!, port);
  const ssl = connectSsl(context, fd, expected, session);
  try {
    if ((await finished(ssl, () => openssl.sslHandshake(ssl))) !== 1)
      return { failure: handshakeFailure(ssl), isResumed: false, session: 0 };
    assert.equal(await finished(ssl, () => openssl.sslRead(ssl, bytes.address, 64)), 5);
    const taken = await ticketOf(ssl);
    openssl.sslShutdown(ssl);
    return { failure: "", isResumed: openssl.sslSessionReused(ssl) === 1, session: taken };
  } finally {
    openssl.sslFree(ssl);
    close(fd);
  }
}

const byName: Expected = { name: "web.test", address: "127.0.0.1" };
const byAddress: Expected = { name: undefined, address: "127.0.0.1" };

describe("a web server's certificate", () => {
  const cases: readonly [what: string, pair: KeyPair, expected: Expected, failure: string][] = [
    ["for its name is good", named, byName, ""],
    ["for a wild card of its name is good", named, { ...byName, name: "a.wild.test" }, ""],
    ["for its address is good", addressed, byAddress, ""],
    ["for another name is refused", named, { ...byName, name: "other.test" }, "hostname mismatch"],
    [
      "for two levels below a wild card is refused",
      named,
      { ...byName, name: "a.b.wild.test" },
      "hostname mismatch",
    ],
    [
      "for another address is refused",
      addressed,
      { ...byAddress, address: "127.0.0.2" },
      "IP address mismatch",
    ],
    ["for a name is refused where an address is expected", named, byAddress, "IP address mismatch"],
    ["that has expired is refused", makeSigned(ca, "DNS:web.test", -1), byName, "certificate has expired"],
    ["that signed itself is refused", makeSelfSigned("DNS:web.test"), byName, "self-signed certificate"],
    [
      "of an unknown authority is refused",
      makeSigned(makeCa(), "DNS:web.test"),
      byName,
      "unable to get local issuer certificate",
    ],
  ];
  for (const [what, pair, expected, failure] of cases) {
    test(what, async (t) => {
      const outcome = await connected(await listening(t, pair), {}, expected);
      assert.equal(outcome.failure, failure);
      if (outcome.session !== 0) freeSession(outcome.session);
    });
  }

  test("is taken whatever it is where nothing is verified", async (t) => {
    const place = await listening(t, makeSelfSigned("DNS:elsewhere.test"));
    const { failure, session } = await connected(place, { ca: undefined }, byName);
    assert.equal(failure, "");
    if (session !== 0) freeSession(session);
  });
});

test("the server is told the name and the protocols", async (t) => {
  const place = await listening(t, named, { ALPNProtocols: ["h2", "http/1.1"] });
  const { failure, session } = await connected(place, {}, byName);
  assert.equal(failure, "");
  if (session !== 0) freeSession(session);
  assert.deepEqual([place.sockets[0]!.servername, place.sockets[0]!.alpnProtocol], ["web.test", "http/1.1"]);
});

test("a server that asks for a certificate gets it, and one that is refused says so", async (t) => {
  const asking = { requestCert: true, rejectUnauthorized: true, ca: readFileSync(ca.certificate) };
  // By TLS 1.3 the refusal would come after the handshake.
  const place = await listening(t, named, { ...asking, maxVersion: "TLSv1.2" });
  const shown = await connected(place, { own: pairOf(makeSigned(ca, "DNS:array.test")) }, byName);
  assert.equal(shown.failure, "");
  if (shown.session !== 0) freeSession(shown.session);
  const none = await connected(place, {}, byName);
  assert.notEqual(none.failure, "");
});

for (const version of ["TLSv1.2", "TLSv1.3"] as const) {
  test(`a session is resumed by ${version}`, async (t) => {
    const place = await listening(t, named, { minVersion: version, maxVersion: version });
    const first = await connected(place, {}, byName);
    assert.equal(first.isResumed, false);
    assert.notEqual(first.session, 0);
    const second = await connected(place, {}, byName, first.session);
    assert.equal(second.isResumed, true);
    for (const { session } of [first, second]) if (session !== 0) freeSession(session);
  });
}

test("who speaks no TLS, or goes, is told of in words", async (t) => {
  const { createServer: createPlain } = await import("node:net");
  const plain = createPlain((socket) => void socket.on("error", () => {}).end("HTTP/1.1 400 no\r\n\r\n"));
  plain.listen(0, "127.0.0.1");
  await once(plain, "listening");
  t.after(() => plain.close());
  const place = { port: (plain.address() as AddressInfo).port, sockets: [] };
  assert.match((await connected(place, {}, byName)).failure, /version|record|packet|http/i);
});

const refused = (options: Partial<ClientContextOptions>) => () =>
  createClientContext({ ca: undefined, protocols: ["http/1.1"], ...options });

test("what can't be a context is refused with its reason", () => {
  const empty = { name: "empty.pem", bytes: Buffer.from("no certificate") };
  assert.throws(refused({ ca: empty }), {
    code: "TLS_CA",
    message: /no certificate authorities in empty\.pem/,
  });
  const own = pairOf(named);
  assert.throws(refused({ own: { ...own, certificate: empty.bytes } }), { code: "TLS_CERTIFICATE" });
  assert.throws(refused({ own: { ...own, key: readFileSync(ca.key) } }), { code: "TLS_KEY" });
  assert.match(systemCaFile(), /^\//);
});
