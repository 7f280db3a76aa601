/** Compressed responses with real sockets: whole, bounded, and nothing left behind. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { get as httpGet, type IncomingMessage } from "node:http";
import { get as httpsGet } from "node:https";
import { readFileSync } from "node:fs";
import { connect } from "node:net";
import { after, test } from "node:test";
import { brotliDecompressSync, createGunzip, gunzipSync, zstdDecompressSync } from "node:zlib";
import { CODER_BYTES } from "../../../conf/limits.ts";
import { buffered } from "../../../dlba-server/engine/reading.ts";
import { exchange, startRig, until, webServer } from "./rig.ts";

const DECODERS = { gzip: gunzipSync, br: brotliDecompressSync, zstd: zstdDecompressSync };
const PAGE = Buffer.from(
  Array.from({ length: 60_000 }, (_, i) => `<li>${i} of ${(i * 7919) % 1009}</li>\n`).join(""),
);
const compression = { types: ["text/*"] };

const server = await webServer((request, response) => {
  response.setHeader("content-type", "text/html");
  if (request.url === "/events") {
    response.setHeader("content-type", "text/event-stream");
    response.write("data: first\n\n");
    return;
  }
  if (request.url !== "/chunked") response.setHeader("content-length", PAGE.length);
  response.end(PAGE);
});
after(() => server.server.close());

async function bodyOf(response: IncomingMessage): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for await (const piece of response) pieces.push(piece as Buffer);
  return Buffer.concat(pieces);
}

test("a large response arrives whole by each coding, plain and by TLS, with a length and in chunks", async (t) => {
  const rig = await startRig({ serverPorts: [server.port], vserver: { compression } });
  t.after(rig.stop);
  for (const path of ["/page", "/chunked"]) {
    for (const [coding, decode] of Object.entries(DECODERS)) {
      const headers = { "accept-encoding": coding };
      for (const get of [
        (done: (response: IncomingMessage) => void) =>
          httpGet({ host: "127.0.0.1", port: rig.httpPort, path, headers, agent: false }, done),
        (done: (response: IncomingMessage) => void) =>
          httpsGet(
            {
              host: "127.0.0.1",
              port: rig.httpsPort,
              path,
              headers,
              servername: "localhost",
              ca: readFileSync(rig.ca),
              agent: false,
            },
            done,
          ),
      ]) {
        const response = await new Promise<IncomingMessage>((resolve, reject) => {
          get(resolve).on("error", reject);
        });
        assert.equal(response.headers["content-encoding"], coding);
        const body = await bodyOf(response);
        assert.ok(body.length < PAGE.length / 2);
        assert.ok(decode(body).equals(PAGE), `${coding} ${path}`);
      }
    }
  }
  await until(() => rig.worker.coders === 0, "coders are left");
});

test("a client that takes nothing holds the web server up, and one that goes leaves no coder behind", async (t) => {
  const rig = await startRig({ serverPorts: [server.port], vserver: { compression } });
  t.after(rig.stop);
  const sockets = Array.from({ length: 5 }, () => connect(rig.httpPort, "127.0.0.1"));
  for (const socket of sockets) {
    socket.pause();
    socket.on("error", () => {});
    socket.write("GET /events HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n");
  }
  await until(() => rig.worker.coders === 5, "five responses are being compressed");
  for (const socket of sockets) socket.destroy();
  await until(() => rig.worker.coders === 0, "coders are left");
});

test("an event reaches its client while the next one is not there yet", async (t) => {
  const rig = await startRig({ serverPorts: [server.port], vserver: { compression } });
  t.after(rig.stop);
  const headers = { "accept-encoding": "gzip" };
  const request = httpGet({ host: "127.0.0.1", port: rig.httpPort, path: "/events", headers, agent: false });
  const [response] = (await once(request, "response")) as [IncomingMessage];
  const decoder = createGunzip();
  response.pipe(decoder);
  const [piece] = (await once(decoder, "data")) as [Buffer];
  assert.equal(piece.toString(), "data: first\n\n");
  response.on("error", () => {});
  // With a plain end the client might still want the rest.
  request.socket!.resetAndDestroy();
  decoder.destroy();
  await until(() => rig.worker.coders === 0, "coders are left");
});

test("when too many responses are being compressed the next ones go as they are", async (t) => {
  const rig = await startRig({ serverPorts: [server.port], vserver: { compression } });
  t.after(rig.stop);
  rig.worker.coders = 256;
  const text = await exchange(
    rig.httpPort,
    "GET /page HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\nConnection: close\r\n\r\n",
  );
  assert.doesNotMatch(text, /content-encoding/i);
  assert.ok(text.endsWith(PAGE.subarray(-100).toString("latin1")));
  rig.worker.coders = 0;
});

test("what compressing takes counts with all that waits, and where there is no room responses go as they are", async (t) => {
  const before = buffered.bytes;
  const rig = await startRig({
    serverPorts: [server.port],
    vserver: { compression },
    limits: { memory_bytes: 2 * CODER_BYTES.br + 1000 },
  });
  t.after(rig.stop);
  const open = async (): Promise<IncomingMessage> => {
    const at = { host: "127.0.0.1", port: rig.httpPort, path: "/events", agent: false };
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      httpGet({ ...at, headers: { "accept-encoding": "br" } }, resolve).on("error", reject);
    });
    response.on("error", () => {});
    return response;
  };
  const responses = [await open(), await open(), await open()];
  const codings = responses.map(({ headers }) => headers["content-encoding"]);
  assert.deepEqual(codings, ["br", "br", undefined]);
  assert.equal(buffered.bytes - before, 2 * CODER_BYTES.br);
  for (const response of responses) response.socket.resetAndDestroy();
  await until(() => buffered.bytes === before && rig.worker.coders === 0, "it is given back");
});
