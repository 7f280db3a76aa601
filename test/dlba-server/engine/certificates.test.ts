/** Certificates, server names and session tickets as clients meet them. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { connect, type TLSSocket } from "node:tls";
import { TICKET_PERIOD_MS } from "../../../conf/limits.ts";
import { renewCertificates, renewTickets, turnTickets } from "../../../dlba-server/vservers.ts";
import { RIG_KEY, startRig, webServer, type Rig } from "./rig.ts";

const dir = mkdtempSync(join(tmpdir(), "dlba-certificates-"));
const web = await webServer((_request, response) => response.end("here"));
after(() => {
  web.server.close();
  rmSync(dir, { recursive: true });
});

interface Files {
  readonly certificate: string;
  readonly key: string;
}

function make(name: string, kind: "rsa" | "ec", names: readonly string[]): Files {
  const files = { certificate: join(dir, `${name}.pem`), key: join(dir, `${name}.key`) };
  const key =
    kind === "rsa" ? ["-newkey", "rsa:2048"] : ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"];
  const alternative = `subjectAltName=${names.map((dns) => `DNS:${dns}`).join(",")}`;
  const subject = ["-subj", `/CN=${name}`, "-addext", alternative, "-days", "2", "-nodes"];
  const out = ["-keyout", files.key, "-out", files.certificate];
  execFileSync("openssl", ["req", "-x509", ...key, ...subject, ...out], { stdio: "ignore" });
  return files;
}

interface Wish {
  readonly servername?: string;
  readonly sigalgs?: string;
  readonly session?: Buffer;
  readonly maxVersion?: "TLSv1.2";
}

async function opened(rig: Rig, wish: Wish = {}): Promise<TLSSocket> {
  const socket = connect({ host: "127.0.0.1", port: rig.httpsPort, rejectUnauthorized: false, ...wish });
  await once(socket, "secureConnect");
  return socket;
}

/** Asks once on an open connection, and waits for the answer. */
async function asked(socket: TLSSocket): Promise<string> {
  let text = "";
  socket.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  while (!text.endsWith("here")) text += String(((await once(socket, "data")) as [Buffer])[0]);
  return text;
}

/** The common name of the certificate that a client gets. */
async function certificateFor(rig: Rig, wish: Wish): Promise<string> {
  const socket = await opened(rig, wish);
  const { CN } = socket.getPeerCertificate().subject;
  socket.destroy();
  return String(CN);
}

test("RSA and ECDSA side by side: the client's abilities decide, with either by name and by default", async () => {
  const certificates = [
    make("rsa", "rsa", ["a.test"]),
    make("ec", "ec", ["a.test"]),
    make("other", "ec", ["*.b.test"]),
  ];
  const rig = await startRig({ serverPorts: [web.port], vserver: { certificates } });
  try {
    const onlyRsa = { sigalgs: "RSA-PSS+SHA256:RSA+SHA256" };
    const onlyEc = { sigalgs: "ECDSA+SHA256" };
    assert.equal(await certificateFor(rig, { servername: "a.test", ...onlyRsa }), "rsa");
    assert.equal(await certificateFor(rig, { servername: "a.test", ...onlyEc }), "ec");
    assert.equal(await certificateFor(rig, onlyRsa), "rsa");
    assert.equal(await certificateFor(rig, onlyEc), "ec");
    assert.equal(await certificateFor(rig, { servername: "www.b.test" }), "other");
    assert.equal(await certificateFor(rig, { servername: "nobody.test", ...onlyRsa }), "rsa");
    const old = { servername: "a.test", maxVersion: "TLSv1.2" } as const;
    assert.equal(await certificateFor(rig, { ...old, ...onlyRsa }), "rsa");
    assert.equal(await certificateFor(rig, { ...old, ...onlyEc }), "ec");
  } finally {
    await rig.stop();
  }
});

test("renewed certificates go to new connections, and open ones go on; bad ones change nothing", async () => {
  const used = make("used", "ec", ["a.test"]);
  const fresh = make("fresh", "ec", ["a.test", "b.test"]);
  const rig = await startRig({ serverPorts: [web.port], vserver: { certificates: [used] } });
  try {
    const early = await opened(rig, { servername: "a.test" });
    await asked(early);
    copyFileSync(fresh.certificate, used.certificate);
    assert.throws(() => renewCertificates(rig.services), { code: "TLS_KEY" }, "a key that does not fit");
    assert.equal(await certificateFor(rig, { servername: "a.test" }), "used");
    copyFileSync(fresh.key, used.key);
    renewCertificates(rig.services);
    assert.equal(await certificateFor(rig, { servername: "a.test" }), "fresh");
    writeFileSync(used.certificate, "no certificate");
    assert.throws(() => renewCertificates(rig.services));
    rmSync(used.certificate);
    assert.throws(() => renewCertificates(rig.services), { code: "ENOENT" });
    assert.equal(await certificateFor(rig, { servername: "a.test" }), "fresh");
    await asked(early);
    early.destroy();
  } finally {
    await rig.stop();
  }
});

/** A session that can be resumed: a ticket that came on a connection that was used. */
async function sessionOf(rig: Rig, wish: Wish): Promise<{ session: Buffer; isReused: boolean }> {
  const socket = connect({ host: "127.0.0.1", port: rig.httpsPort, rejectUnauthorized: false, ...wish });
  const ticket = once(socket, "session") as Promise<[Buffer]>;
  await once(socket, "secureConnect");
  const isReused = socket.isSessionReused();
  await asked(socket);
  const [session] = isReused && wish.maxVersion === "TLSv1.2" ? [wish.session!] : await ticket;
  socket.destroy();
  return { session, isReused };
}

test("a clock that was put back a day, or far into the future, gets the tickets of its time", async () => {
  const rig = await startRig({ serverPorts: [web.port] });
  const { services } = rig;
  try {
    const today_ms = Date.now();
    const newest = (): string => services.tickets.newest.bytes.toString("hex");
    const today = newest();
    turnTickets(services, RIG_KEY, today_ms + 1000 * TICKET_PERIOD_MS);
    assert.notEqual(newest(), today);
    turnTickets(services, RIG_KEY, today_ms);
    assert.equal(newest(), today);
    turnTickets(services, RIG_KEY, today_ms - 2 * TICKET_PERIOD_MS);
    assert.notEqual(newest(), today);
  } finally {
    await rig.stop();
  }
});

for (const maxVersion of ["TLSv1.3", "TLSv1.2"] as const) {
  test(`${maxVersion}: a ticket is good in the period after its own, its successor is the newest key's, older ones are not`, async () => {
    const rig = await startRig({ serverPorts: [web.port] });
    const wish: Wish = maxVersion === "TLSv1.2" ? { maxVersion } : {};
    const now_ms = Date.now();
    const turn = (periods: number): void => {
      rig.services.tickets.ends_ms = 0;
      turnTickets(rig.services, RIG_KEY, now_ms + periods * TICKET_PERIOD_MS);
    };
    try {
      const first = await sessionOf(rig, wish);
      assert.equal(first.isReused, false);
      turn(1);
      const second = await sessionOf(rig, { ...wish, session: first.session });
      assert.equal(second.isReused, true, "by the key before");
      turn(2);
      assert.equal((await sessionOf(rig, { ...wish, session: first.session })).isReused, false, "too old");
      const third = await sessionOf(rig, { ...wish, session: second.session });
      // A client of TLS 1.2 keeps its ticket when it resumes; one of TLS 1.3 has got a new one.
      assert.equal(third.isReused, maxVersion === "TLSv1.3");
      turn(1);
      const ahead = await sessionOf(rig, wish);
      turn(0);
      assert.equal(
        (await sessionOf(rig, { ...wish, session: ahead.session })).isReused,
        true,
        "of a node that is ahead",
      );
    } finally {
      await rig.stop();
    }
  });

  test(`${maxVersion}: a ticket outlasts a change of the array key until the key that it was made with is forgotten`, async () => {
    const rig = await startRig({ serverPorts: [web.port] });
    const wish: Wish = maxVersion === "TLSv1.2" ? { maxVersion } : {};
    const [young, { current: old, seed }] = [Buffer.alloc(32, 8), RIG_KEY];
    const take = (current: Uint8Array, also: Uint8Array | undefined): void =>
      renewTickets(rig.services, { current, also, isAlsoNext: false, seed }, Date.now());
    const isResumed = async (session: Buffer): Promise<boolean> =>
      (await sessionOf(rig, { ...wish, session })).isReused;
    try {
      const { session } = await sessionOf(rig, wish);
      take(old, young);
      assert.equal(await isResumed(session), true);
      take(young, old);
      assert.equal(await isResumed(session), true);
      const newer = await sessionOf(rig, wish);
      take(old, young);
      assert.equal(await isResumed(newer.session), true, "of a node that uses the new key already");
      take(young, undefined);
      assert.deepEqual([await isResumed(session), await isResumed(newer.session)], [false, true]);
    } finally {
      await rig.stop();
    }
  });
}

test("a ClientHello that comes byte by byte is waited for", async () => {
  const rig = await startRig({ serverPorts: [web.port] });
  const { createConnection } = await import("node:net");
  const { Duplex } = await import("node:stream");
  try {
    const raw = createConnection({ host: "127.0.0.1", port: rig.httpsPort, noDelay: true });
    await once(raw, "connect");
    // What TLS writes goes out in pieces.
    const slow = new Duplex({
      read: () => {},
      write: (chunk: Buffer, _encoding, done) => {
        const pieces = Array.from({ length: Math.ceil(chunk.length / 100) }, (_, i) =>
          chunk.subarray(i * 100, (i + 1) * 100),
        );
        const next = (): void => {
          const piece = pieces.shift();
          if (piece === undefined) done();
          else raw.write(piece, () => setImmediate(next));
        };
        next();
      },
    });
    raw.on("data", (data) => slow.push(data));
    raw.on("close", () => slow.push(null));
    const socket = connect({ socket: slow, rejectUnauthorized: false });
    await once(socket, "secureConnect");
    await asked(socket);
    socket.destroy();
    raw.destroy();
  } finally {
    await rig.stop();
  }
});
