/** The access log of a worker: what each request leaves there, and what happens to its file. */
import assert from "node:assert/strict";
import {
  closeSync,
  fstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect } from "node:net";
import { type TestContext, test } from "node:test";
import { ACCESS_LOG_BYTES } from "../../../conf/limits.ts";
import { openAccessLog } from "../../../dlba-server/engine/access-log.ts";
import { exchange, rawServer, startRig, until, webServer } from "./rig.ts";

function directory(t: TestContext): string {
  const dir = mkdtempSync(join(tmpdir(), "dlba-access-"));
  t.after(() => rmSync(dir, { recursive: true }));
  return dir;
}

const get = (path: string, fields = ""): string =>
  `GET ${path} HTTP/1.1\r\nHost: a.example\r\n${fields}Connection: close\r\n\r\n`;

/** The lines of a JSON log once there are so many. */
async function linesOf(file: string, count: number): Promise<Record<string, unknown>[]> {
  const lines = (): string[] => {
    try {
      return readFileSync(file, "utf8").split("\n").slice(0, -1);
    } catch {
      return [];
    }
  };
  await until(() => lines().length >= count, `${count} lines`);
  return lines().map((line) => JSON.parse(line));
}

test("every request leaves a line: answered, refused, cut off, given up", async (t) => {
  const file = join(directory(t), "access.log");
  const { server, port } = await rawServer((socket) => {
    socket.once("data", (data) => {
      const text = data.toString("latin1");
      if (text.startsWith("GET /cut")) socket.end("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
      else if (text.startsWith("GET /slow")) return;
      else socket.end("HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\nok");
    });
  });
  const rig = await startRig({ serverPorts: [port], accessLog: { file, format: "json" } });
  t.after(() => rig.stop());
  const before_ms = Date.now();
  const answer = await exchange(rig.httpPort, get("/a?b", "Referer: here\r\nUser-Agent: test\r\n"));
  await exchange(rig.httpPort, "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n");
  await exchange(rig.httpPort, get("/cut")).catch(() => "");
  const gone = connect(rig.httpPort, "127.0.0.1");
  gone.write(get("/slow"));
  await until(() => rig.worker.counters.requests === 3, "the request is under way");
  gone.resetAndDestroy();
  const lines = await linesOf(file, 4);
  server.close();
  assert.deepEqual(
    lines.map(({ request, status, web_server, end }) => [request, status, web_server, end]),
    [
      ["GET /a?b HTTP/1.1", 201, "web1", "done"],
      ["GET / HTTP/1.1", 400, undefined, "done"],
      ["GET /cut HTTP/1.1", 200, "web1", "cut"],
      ["GET /slow HTTP/1.1", 0, "web1", "lost"],
    ],
  );
  const [first] = lines;
  assert.deepEqual(
    [first?.["referer"], first?.["user_agent"], first?.["host"]],
    ["here", "test", "a.example"],
  );
  assert.deepEqual([first?.["node"], first?.["vserver"], first?.["client"]], ["rig", "plain", "127.0.0.1"]);
  assert.equal(first?.["sent_bytes"], answer.length);
  assert.ok(Math.abs(Date.parse(String(first?.["time"])) - before_ms) < 5000);
});

test("the web server and the log get the same request id, and a client's own counts for nothing", async (t) => {
  const file = join(directory(t), "access.log");
  const seen: (string | string[] | undefined)[] = [];
  const { server, port } = await webServer((request, response) => {
    seen.push(request.headers["x-request-id"], request.headers["traceparent"]);
    response.end("ok");
  });
  const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
  for (const [trusted_proxies, own] of [
    [[], undefined],
    [["127.0.0.1/32"], "from-outside"],
  ] as const) {
    const vserver = { request_id: true, trusted_proxies };
    const rig = await startRig({ serverPorts: [port], accessLog: { file, format: "json" }, vserver });
    const fields = `X-Request-Id: from-outside\r\ntraceparent: ${trace}\r\n`;
    for (let i = 0; i < 2; i++) await exchange(rig.httpPort, get("/", fields));
    await rig.stop();
    const [one, traceOne, two, traceTwo] = seen.splice(0);
    assert.deepEqual([traceOne, traceTwo], [trace, trace]);
    if (own === undefined) {
      assert.match(String(one), /^[0-9a-f]{28}$/);
      assert.notEqual(one, two);
    } else assert.deepEqual([one, two], [own, own]);
    const lines = await linesOf(file, 2);
    assert.deepEqual(
      lines.slice(-2).map(({ request_id }) => request_id),
      [one, two],
    );
  }
  server.close();
});

test("a vserver may be left out of the log", async (t) => {
  const file = join(directory(t), "access.log");
  const { server, port } = await webServer((_request, response) => response.end("ok"));
  const vserver = { access_log: false };
  const rig = await startRig({ serverPorts: [port], accessLog: { file, format: "combined" }, vserver });
  await exchange(rig.httpPort, get("/"));
  await rig.stop();
  server.close();
  assert.throws(() => readFileSync(file), { code: "ENOENT" });
});

const LINE = {
  at_ms: 0,
  node: "n",
  vserver: "v",
  client: "192.0.2.1",
  clientPort: 1,
  request: undefined,
  requestId: "",
  traceparent: "",
  status: 400,
  sent_bytes: 1,
  received_bytes: 0,
  webServer: "",
  response_ms: undefined,
  total_ms: 1,
  end: "done",
} as const;

test("a log that is moved away goes on in a new file, and one that can't be written costs its lines alone", async (t) => {
  const dir = directory(t);
  const file = join(dir, "sub", "access.log");
  const said: string[] = [];
  const tell = (_fields: object, text: string): void => void said.push(text);
  const log = openAccessLog({ file, format: "json" }, { warn: tell, info: tell });
  log.note(LINE);
  await until(() => log.dropped() === 1, "there is no such directory");
  log.note(LINE);
  await until(() => log.dropped() === 2, "there still is none");
  mkdirSync(join(dir, "sub"));
  log.note({ ...LINE, status: 401 });
  assert.equal((await linesOf(file, 1))[0]?.["status"], 401);
  await until(() => said.length === 2, "that it goes on is said after the line has been written");
  assert.deepEqual(said, [
    "the access log can't be written: lines are lost",
    "the access log is written again",
  ]);
  renameSync(file, `${file}.1`);
  log.note({ ...LINE, status: 402 });
  assert.equal((await linesOf(file, 1))[0]?.["status"], 402);
  log.note({ ...LINE, status: 403 });
  await log.close();
  const lines = await linesOf(file, 2);
  assert.deepEqual(
    lines.map(({ status }) => status),
    [402, 403],
  );
});

test("a log that is gone and can't be made again closes nobody else's file", async (t) => {
  const dir = directory(t);
  const folder = join(dir, "sub");
  mkdirSync(folder);
  const file = join(folder, "access.log");
  const log = openAccessLog({ file, format: "json" }, { warn: () => undefined, info: () => undefined });
  log.note(LINE);
  await linesOf(file, 1);
  renameSync(folder, `${folder}.away`);
  log.note(LINE);
  await until(() => log.dropped() === 1, "there is no such directory any more");
  // These get the lowest numbers that are free, the log's former one among them.
  const others = Array.from({ length: 8 }, () => openSync("/dev/null", "r"));
  for (let count = 2; count < 5; count++) {
    log.note(LINE);
    await until(() => log.dropped() === count, "there still is none");
  }
  for (const fd of others) {
    assert.doesNotThrow(() => fstatSync(fd));
    closeSync(fd);
  }
  await log.close();
});

test("what waits to be written is bounded", async (t) => {
  const file = join(directory(t), "access.log");
  const log = openAccessLog({ file, format: "combined" }, { warn: () => undefined, info: () => undefined });
  const line_bytes = '192.0.2.1 - - [01/Jan/1970:00:00:00 +0000] "-" 400 1 "-" "-"\n'.length;
  const most = Math.ceil(ACCESS_LOG_BYTES / line_bytes);
  for (let i = 0; i < most + 7; i++) log.note(LINE);
  assert.equal(log.dropped(), 7);
  await log.close();
  assert.equal(readFileSync(file).length, most * line_bytes);
});
