/** The dashboard over HTTP: who gets what, and what slow or many readers cost. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test, type TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { DASHBOARD_STREAMS, DASHBOARD_WAITING_BYTES, METRICS_HEAD_BYTES } from "../../../conf/limits.ts";
import { createHub, readView, VIEW, type Hub, type HubOptions } from "../../../status/dashboard/hub.ts";
import type { ArrayEvent, ArrayPicture, WholeMap } from "../../../status/dashboard/messages.ts";
import { frameReader, type Frame } from "../../../status/dashboard/page/frames.ts";
import { dashboardServer } from "../../../status/dashboard/server.ts";
import { quiet } from "../samples.ts";
import { config, event, slice } from "./sources.ts";

const directory = mkdtempSync(join(tmpdir(), "dlba-dashboard-"));
after(() => rmSync(directory, { recursive: true }));
const TOKEN = "a-token-of-enough-characters";
const tokenFile = join(directory, "token");
writeFileSync(tokenFile, `${TOKEN}\n`);
const authorized = { headers: { Authorization: `Bearer ${TOKEN}` } };

interface Asked {
  readonly hub: Hub;
  /** What other nodes were asked, and how often this one told of itself. */
  readonly lines: string[];
  own: number;
}

/** Node 1's hub. Node 2 tells, node 3 does not answer. */
function hubOf(t: TestContext, change: Partial<HubOptions> = {}): Asked {
  const asked: Asked = {
    lines: [],
    own: 0,
    hub: createHub({
      config: () => config,
      node: config.nodes[0]!,
      tick_ms: 20,
      slice: async () => {
        asked.own++;
        return slice(1, asked.own, { events: [event(1, 50)] });
      },
      owners: async () => Buffer.alloc(4096, 1 + (asked.own % 2)),
      askNode: async ({ number }, line) => {
        asked.lines.push(line);
        if (number === 3) throw new Error("no answer");
        return JSON.stringify(slice(2, asked.own, { events: [event(1, 10), event(2, 60)] }));
      },
      ...change,
    }),
  };
  t.after(() => asked.hub.close());
  return asked;
}

async function serve(t: TestContext, hub: Hub): Promise<string> {
  const server = await dashboardServer({ address: "127.0.0.1", port: 0, token_file: tokenFile }, hub, quiet);
  t.after(() => server.close());
  return `http://127.0.0.1:${server.port}`;
}

/** The first events of a stream, until there are so many. */
async function framesOf(response: Response, count: number): Promise<Frame[]> {
  const frames: Frame[] = [];
  const take = frameReader();
  for await (const text of response.body!.pipeThrough(new TextDecoderStream())) {
    frames.push(...take(text));
    if (frames.length >= count) break;
  }
  return frames;
}

describe("the dashboard's server", () => {
  test("gives its page to everybody, with nothing from elsewhere, compressed and kept", async (t) => {
    const url = await serve(t, hubOf(t).hub);
    const page = await fetch(`${url}/`);
    const html = await page.text();
    assert.match(
      page.headers.get("content-security-policy") ?? "",
      /^default-src 'none'; script-src 'self';/,
    );
    assert.equal(page.headers.get("content-encoding"), "gzip");
    assert.doesNotMatch(html, /https?:\/\//);
    const named = [...html.matchAll(/(?:src|href)="([^"#]+)"/g)].map(([, name = ""]) => name);
    assert.ok(named.includes("main.ts") && named.includes("uplot.css"));
    for (const path of [...named, "uplot.js", "bucket-map.ts"]) {
      const file = await fetch(`${url}/${path}`);
      assert.equal(file.status, 200, path);
      const isScript = /\.(?:ts|js)$/.test(path);
      if (isScript) assert.match(file.headers.get("content-type") ?? "", /^text\/javascript/);
      const text = await file.text();
      if (path === "main.ts") {
        for (const [, name = ""] of text.matchAll(/from "\.\/([\w.-]+)"/g))
          assert.equal((await fetch(`${url}/${name}`)).status, 200, name);
      }
      const etag = file.headers.get("etag") ?? "";
      assert.equal((await fetch(`${url}/${path}`, { headers: { "if-none-match": etag } })).status, 304);
    }
  });

  test("streams to who says the token alone, and takes nothing but questions", async (t) => {
    const { hub } = hubOf(t);
    const url = await serve(t, hub);
    const statuses: [path: string, init: RequestInit, status: number][] = [
      ["/stream", {}, 401],
      ["/stream", { headers: { Authorization: `Bearer ${TOKEN}x` } }, 401],
      ["/stream", { headers: { Authorization: TOKEN } }, 401],
      [`/stream?token=${TOKEN}`, {}, 401],
      ["/stream", { ...authorized, method: "POST" }, 405],
      ["/", { method: "PUT" }, 405],
      ["/page/main.ts", authorized, 404],
      ["/..%2f..%2fetc/passwd", authorized, 404],
      ["/metrics", {}, 404],
    ];
    for (const [path, init, status] of statuses) {
      const response = await fetch(`${url}${path}`, init);
      assert.equal(response.status, status, path);
      assert.doesNotMatch(await response.text(), new RegExp(TOKEN));
    }
    assert.equal(hub.watchers(), 0);
    const long = await fetch(`${url}/stream`, {
      headers: { Authorization: `Bearer ${"x".repeat(METRICS_HEAD_BYTES)}` },
    });
    assert.equal(long.status, 431);
  });

  test("sends the whole first, and then what changes", async (t) => {
    const { hub, lines } = hubOf(t);
    const url = await serve(t, hub);
    const frames = await framesOf(await fetch(`${url}/stream`, authorized), 5);
    assert.deepEqual(
      frames.slice(0, 5).map((frame) => frame.event),
      ["array", "map", "events", "array", "moved"],
    );
    const pictures: ArrayPicture[] = frames
      .filter((frame) => frame.event === "array")
      .map(({ data }) => JSON.parse(data));
    assert.deepEqual(
      pictures[0]!.nodes.map(({ silence }) => silence),
      ["", "", "no answer"],
    );
    assert.deepEqual([pictures[0]!.nodes[0]!.rates, pictures[1]!.nodes[0]!.rates?.requests], [null, 100]);
    const map: WholeMap = JSON.parse(frames[1]!.data);
    assert.equal(Buffer.from(map.cells, "base64").length, 4096);
    const events: ArrayEvent[] = JSON.parse(frames[2]!.data);
    assert.deepEqual(
      events.map(({ node, text }) => `${node}: ${text}`),
      ["node2: event 1", "node1: event 1", "node2: event 2"],
    );
    // The next question is for what comes after that, and an event is told once.
    assert.deepEqual(lines.slice(0, 1).concat(lines.filter((line) => line.includes("life-2")).slice(0, 1)), [
      `${VIEW}- 0`,
      `${VIEW}life-2 2`,
    ]);
  });

  test("asks nobody while nobody watches, once for all who do, and has a bounded number of them", async (t) => {
    const asked = hubOf(t, { tick_ms: 200 });
    const url = await serve(t, asked.hub);
    await sleep(50);
    assert.equal(asked.own, 0);
    const streams = await Promise.all(
      Array.from({ length: DASHBOARD_STREAMS }, () => fetch(`${url}/stream`, authorized)),
    );
    const more = await fetch(`${url}/stream`, authorized);
    assert.deepEqual([more.status, more.headers.get("retry-after")], [503, "10"]);
    await Promise.all(streams.map((stream) => framesOf(stream, 1)));
    const { own } = asked;
    assert.ok(own <= DASHBOARD_STREAMS / 2, `${own} rounds`);
    while (asked.hub.watchers() > 0) await sleep(20);
    await sleep(300);
    const atRest = asked.own;
    await sleep(300);
    assert.equal(asked.own, atRest);
  });

  test("a reader that takes nothing costs a bounded buffer, holds nobody up, and is cut off", async (t) => {
    // Maps that all differ, so that much is to be sent.
    const asked = hubOf(t, { tick_ms: 5, owners: async () => Buffer.alloc(65_536, asked.own) });
    const url = new URL(await serve(t, asked.hub));
    const socket = connect(Number(url.port), "127.0.0.1");
    await once(socket, "connect");
    socket.pause();
    socket.write(`GET /stream HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ${TOKEN}\r\n\r\n`);
    const closed = once(
      socket.on("error", () => undefined),
      "close",
    );
    const waiting: number[] = [];
    const leave = asked.hub.watch({
      send: (text) => waiting.push(text.length),
      waiting_bytes: () => 0,
      end: () => undefined,
    });
    while (asked.hub.watchers() < 2) await sleep(5);
    while (asked.hub.watchers() === 2) await sleep(20);
    assert.ok(waiting.length > 10, "others were served meanwhile");
    assert.ok(Math.max(...waiting) < DASHBOARD_WAITING_BYTES);
    leave();
    socket.resume();
    await closed;
  });
});

test("a question for a view is read, and nothing that is none", () => {
  assert.deepEqual(readView(`${VIEW}123-456 7`), { life: "123-456", sequence: 7 });
  for (const odd of ["view", "view a", "view a b", "view a 1 2", `view ${"x".repeat(65)} 1`, "status"])
    assert.equal(readView(odd), undefined);
});
