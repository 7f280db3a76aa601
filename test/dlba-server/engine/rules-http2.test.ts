/** Rules and compression for requests of HTTP/2 streams: the same as for others. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { connect as http2Connect, type ClientHttp2Session, type IncomingHttpHeaders } from "node:http2";
import { after, test } from "node:test";
import { brotliDecompressSync, gunzipSync, zstdDecompressSync } from "node:zlib";
import { startRig, until, webServer } from "./rig.ts";

const PAGE = "<li>all happy families are alike</li>\n".repeat(4000);
const server = await webServer((request, response) => {
  response.setHeader("content-type", "text/html");
  response.setHeader("etag", '"page"');
  response.setHeader("x-asked", `${request.method} ${request.url} ${request.headers.host}`);
  response.setHeader("x-seen", String(request.headers["x-entrance"] ?? "-"));
  response.setHeader("x-proto", String(request.headers["x-forwarded-proto"]));
  if (request.url !== "/chunked") response.setHeader("content-length", PAGE.length);
  response.end(PAGE);
});
after(() => server.server.close());

async function ask(client: ClientHttp2Session, headers: Record<string, string>) {
  const stream = client.request(headers);
  const [fields] = (await once(stream, "response")) as [IncomingHttpHeaders];
  const pieces: Buffer[] = [];
  for await (const piece of stream) pieces.push(piece as Buffer);
  return { fields, status: Number(fields[":status"]), body: Buffer.concat(pieces) };
}

const rules = [
  { when: [{ of: "path", prefix: ["/admin/"] }], deny: {} },
  { when: [{ of: "header", name: "X-Old" }], redirect: { status: 301, to: "https://{host}/new{path}" } },
  { when: [{ of: "path", prefix: ["/slow"] }], rate_limit: { requests: 1, per_s: 3600 } },
  {
    rewrite: { prefix: "/api/", to: "/v1/" },
    request_headers: { set: [{ name: "X-Entrance", value: "front" }] },
    response_headers: { set: [{ name: "X-Frame-Options", value: "DENY" }], remove: ["ETag"] },
  },
];

test("rules decide and change as they do for HTTP/1.1", async (t) => {
  const rig = await startRig({ serverPorts: [server.port], vserver: { rules } });
  const client = http2Connect(`http://127.0.0.1:${rig.httpPort}`);
  t.after(async () => {
    client.close();
    await rig.stop();
  });
  assert.equal((await ask(client, { ":path": "/x/../%61dmin/x" })).status, 403);
  assert.equal((await ask(client, { ":path": "/x/..;/admin/x" })).status, 400);
  const old = await ask(client, { ":path": "/y?z", ":authority": "a.test:81", "x-old": "1" });
  assert.deepEqual([old.status, old.fields.location], [301, "https://a.test/new/y"]);
  const slow = [await ask(client, { ":path": "/slow" }), await ask(client, { ":path": "/slow" })];
  assert.deepEqual(
    slow.map(({ status }) => status),
    [200, 429],
  );
  assert.ok(Number(slow[1]!.fields["retry-after"]) > 3500);
  const api = await ask(client, { ":path": "/api/x?q=/api/", ":authority": "a.test" });
  assert.deepEqual(
    [api.fields["x-asked"], api.fields["x-seen"], api.fields["x-frame-options"], api.fields.etag],
    ["GET /v1/x?q=/api/ a.test", "front", "DENY", undefined],
  );
});

test("responses are compressed, with a length and without", async (t) => {
  const rig = await startRig({ serverPorts: [server.port], vserver: { compression: {} } });
  const client = http2Connect(`http://127.0.0.1:${rig.httpPort}`);
  t.after(async () => {
    client.close();
    await rig.stop();
  });
  for (const path of ["/page", "/chunked"]) {
    for (const [coding, decode] of [
      ["gzip", gunzipSync],
      ["br", brotliDecompressSync],
      ["zstd", zstdDecompressSync],
    ] as const) {
      const { fields, body } = await ask(client, { ":path": path, "accept-encoding": coding });
      assert.deepEqual(
        [fields["content-encoding"], fields["content-length"], fields["transfer-encoding"], fields.etag],
        [coding, undefined, undefined, 'W/"page"'],
      );
      assert.equal(decode(body).toString(), PAGE);
    }
  }
  const plain = await ask(client, { ":path": "/page" });
  assert.deepEqual([plain.fields["content-encoding"], plain.fields.vary], [undefined, "Accept-Encoding"]);
  assert.equal(plain.body.toString(), PAGE);
  await until(() => rig.worker.coders === 0, "coders are left");
});

test("a URL of another scheme is answered for proxies that are trusted alone", async (t) => {
  for (const [trusted_proxies, status] of [
    [[], 421],
    [["127.0.0.1/32"], 200],
  ] as const) {
    const rig = await startRig({ serverPorts: [server.port], vserver: { trusted_proxies } });
    const client = http2Connect(`http://127.0.0.1:${rig.httpPort}`);
    t.after(async () => {
      client.close();
      await rig.stop();
    });
    const asked = await ask(client, { ":path": "/", ":scheme": "https" });
    assert.equal(asked.status, status);
    if (status === 200) assert.equal(asked.fields["x-proto"], "https");
    assert.equal((await ask(client, { ":path": "/", ":scheme": "http" })).status, 200);
  }
});
