import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test, type TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { DlbaError } from "../../conf/errors.ts";
import { EVENTS_WAITING, MONITOR_COMMAND_BYTES, MONITOR_CONNECTIONS } from "../../conf/limits.ts";
import type { NodeEvent, PublishedBody, Topic } from "../../conf/messages.ts";
import { collect } from "../../status/collector.ts";
import { monitor } from "../../status/monitor.ts";
import { publish } from "../../status/publish.ts";
import { listenUnix } from "../../net/unix-server.ts";
import { createLogger } from "../../status/log.ts";
import { quiet, scheduler, worker } from "./samples.ts";

const directory = mkdtempSync(join(tmpdir(), "dlba-status-"));
after(() => rmSync(directory, { recursive: true }));
let sockets = 0;
const socketPath = (): string => join(directory, `${++sockets}.sock`);

/** Waits until something holds; fails after ten seconds. */
async function until(what: string, isSo: () => boolean | Promise<boolean>): Promise<void> {
  for (let i = 0; i < 1000; i++) {
    if (await isSo()) return;
    await sleep(10);
  }
  assert.fail(`not within 10 s: ${what}`);
}

async function collectorAt(t: TestContext, path: string, answer_ms = 5000) {
  const collector = await collect(path, answer_ms);
  t.after(() => collector.close());
  return collector;
}

type Answer = (topic: Topic) => PublishedBody | Promise<PublishedBody>;
function publisher(t: TestContext, path: string, number: number, answer: Answer) {
  const hello = { process: "dlba-server", worker: number, pid: 1000 + number } as const;
  const published = publish({ path, hello, answer, log: quiet });
  t.after(published.close);
  return published;
}

describe("publishers and their collector", () => {
  test("every publisher is asked at once, and only for what it may know", async (t) => {
    const path = socketPath();
    const collector = await collectorAt(t, path);
    publisher(t, path, 0, () => worker({ requests: 1 }));
    publisher(t, path, 1, async () => worker({ requests: 2 }));
    const hello = { process: "scheduler", worker: 0, pid: 7 } as const;
    const asked: Topic[] = [];
    const answer = (topic: Topic): PublishedBody => {
      if (!asked.includes(topic)) asked.push(topic);
      return scheduler();
    };
    const other = publish({ path, hello, answer, log: quiet });
    t.after(other.close);
    await until("three publishers", async () => (await collector.ask("rows")).length === 3);
    const requests = (await collector.ask("rows")).map(
      ({ body }) => body?.kind === "worker" && body.requests,
    );
    assert.deepEqual(
      requests.map(String).toSorted((a, b) => a.localeCompare(b)),
      ["1", "2", "false"],
    );
    for (const topic of ["buckets", "vservers"] as const) {
      const [answer, ...others] = await collector.ask(topic);
      assert.deepEqual([answer?.hello.process, others.length], ["scheduler", 0]);
    }
    assert.deepEqual(asked, ["rows", "buckets", "vservers"]);
  });

  test("one that does not answer, or fails to, is shown without rows, and in time", async (t) => {
    const path = socketPath();
    const collector = await collectorAt(t, path, 200);
    publisher(t, path, 0, () => worker());
    publisher(t, path, 1, () => new Promise<never>(() => undefined));
    publisher(t, path, 2, () => assert.fail("no rows"));
    await until("three publishers", async () => (await collector.ask("rows")).length === 3);
    const rows = await collector.ask("rows");
    const answered = rows.map(({ hello, body }) => `${hello.worker} ${body !== null}`);
    assert.deepEqual(new Set(answered), new Set(["0 true", "1 false", "2 false"]));
  });

  test("one that dies while it is asked costs no waiting, and is gone after", async (t) => {
    const path = socketPath();
    const collector = await collectorAt(t, path, 60_000);
    let asked = 0;
    const dying = publisher(t, path, 0, () => {
      asked += 1;
      return asked === 1 ? worker() : new Promise<never>(() => undefined);
    });
    await until("a publisher", async () => (await collector.ask("rows")).length === 1);
    const question = collector.ask("rows");
    await until("the question to arrive", () => asked === 2);
    dying.close();
    assert.deepEqual(
      (await question).map(({ body }) => body),
      [null],
    );
    assert.deepEqual(await collector.ask("rows"), []);
  });

  test("what an ended worker had counted is known on", async (t) => {
    const path = socketPath();
    const collector = await collectorAt(t, path);
    publisher(t, path, 0, () => worker({ requests: 1 }));
    const ending = publisher(t, path, 1, () => worker({ requests: 2 }));
    await until("two publishers", async () => (await collector.ask("rows")).length === 2);
    assert.deepEqual(collector.absent(await collector.ask("rows")), []);
    ending.close();
    await until("one publisher", async () => (await collector.ask("rows")).length === 1);
    const absent = collector.absent(await collector.ask("rows"));
    assert.deepEqual(
      absent.map(({ requests, open_connections }) => [requests, open_connections]),
      [[2, 0]],
    );
  });

  test("publishers come back when the status process does", async (t) => {
    const path = socketPath();
    const first = await collect(path, 5000);
    publisher(t, path, 0, () => worker());
    await until("a publisher", async () => (await first.ask("rows")).length === 1);
    await first.close();
    const second = await collectorAt(t, path);
    await until("the publisher again", async () => (await second.ask("rows")).length === 1);
  });

  test("askers at the same time share one round", async (t) => {
    const path = socketPath();
    const collector = await collectorAt(t, path);
    let asked = 0;
    publisher(t, path, 0, async () => {
      asked += 1;
      await sleep(50);
      return worker();
    });
    await until("a publisher", async () => (await collector.ask("rows")).length === 1);
    const before = asked;
    await Promise.all(Array.from({ length: 20 }, () => collector.ask("rows")));
    assert.equal(asked - before, 1);
  });

  test("who speaks nonsense is cut off, and nobody else", async (t) => {
    const path = socketPath();
    const collector = await collectorAt(t, path);
    publisher(t, path, 0, () => worker());
    for (const text of ["hello\n", "{}\n", '{"process":"root","worker":0,"pid":1}\n', "null\n[]\n"]) {
      const socket = connect({ path });
      socket.write(text);
      await once(socket.resume(), "close");
    }
    const answers = connect({ path });
    answers.write('{"process":"scheduler","worker":0,"pid":1}\n{"id":"x"}\n');
    await once(answers.resume(), "close");
    await until("the good one", async () => (await collector.ask("rows")).length === 1);
  });

  test("a publisher does not keep its process alive", async () => {
    const module = JSON.stringify(new URL("../../status/publish.ts", import.meta.url).href);
    const logs = JSON.stringify(new URL("samples.ts", import.meta.url).href);
    const code = `const { publish } = await import(${module}); const { quiet } = await import(${logs});
      publish({ path: "/nonexistent/x.sock", hello: { process: "failover", worker: 0, pid: 1 }, answer: () => { throw 1 }, log: quiet });`;
    const child = spawn(process.execPath, ["--input-type=module", "-e", code], { stdio: "inherit" });
    const timer = setTimeout(() => child.kill("SIGKILL"), 30_000);
    await once(child, "exit");
    clearTimeout(timer);
    assert.equal(child.exitCode, 0);
  });
});

interface MonitorCase {
  readonly path: string;
  /** Pieces that were taken out of `big` answers. */
  readonly pieces: () => number;
}

async function monitorFor(
  t: TestContext,
  change: { idle_ms?: number; answer_ms?: number } = {},
): Promise<MonitorCase> {
  const path = socketPath();
  let pieces = 0;
  function* big(): Generator<string> {
    for (let i = 0; i < 1000; i++) {
      pieces += 1;
      yield `${"x".repeat(65_535)}\n`;
    }
  }
  const server = await monitor({
    path,
    answer: async (command) => {
      if (command === "big") return big();
      if (command.startsWith("echo ")) return [`${command.slice(5)}\n`];
      throw new DlbaError("COMMAND_UNKNOWN", `unknown command '${command}'`);
    },
    idle_ms: 20_000,
    answer_ms: 20_000,
    log: quiet,
    ...change,
  });
  t.after(() => server.close());
  return { path, pieces: () => pieces };
}

function open(t: TestContext, path: string): Socket {
  const socket = connect({ path });
  socket.on("error", () => undefined);
  t.after(() => socket.destroy());
  return socket;
}

/** Everything that is said until the other side closes. */
async function dialogue(socket: Socket, text: string): Promise<string> {
  let said = "";
  socket.setEncoding("utf8").on("data", (piece: string) => {
    said += piece;
  });
  if (text !== "") socket.write(text);
  await new Promise((resolve) => socket.once("close", resolve));
  return said;
}

describe("events", () => {
  test("what a process logs reaches the status process, and waits while that is away", async (t) => {
    const path = socketPath();
    // Standard error belongs to the test's report.
    const log = createLogger({ process: "test" }, "silent");
    const hello = { process: "failover", worker: 0, pid: 1 } as const;
    const published = publish({ path, hello, answer: () => worker(), log: quiet });
    t.after(published.close);
    log.level = "info";
    for (let i = 0; i < EVENTS_WAITING + 5; i++) log.info({ number: i }, "follows a scheduler");
    log.info("nothing of interest");
    const heard: NodeEvent[] = [];
    const collector = await collect(path, 5000, { onEvent: (event) => heard.push(event) });
    t.after(() => collector.close());
    await until("those that waited", () => heard.length === EVENTS_WAITING);
    assert.deepEqual([heard[0]?.facts["number"], heard.at(-1)?.facts["number"]], [5, EVENTS_WAITING + 4]);
    log.warn({ reason: "carrier" }, "this node would not take over");
    await until("the next one", () => heard.length > EVENTS_WAITING);
    const { at_ms, ...event } = heard.at(-1)!;
    assert.ok(Math.abs(at_ms - Date.now()) < 60_000);
    assert.deepEqual(event, {
      kind: "stands-not",
      severity: "warning",
      process: "failover",
      worker: 0,
      text: "this node would not take over",
      facts: { reason: "carrier" },
    });
    assert.equal((await collector.ask("rows")).length, 1, "and it still answers");
  });
});

describe("the monitoring socket", () => {
  test("answers the commands of one line, each answer ended by an empty line, and closes", async (t) => {
    const { path } = await monitorFor(t);
    assert.equal(await dialogue(open(t, path), "echo a; echo b\r\necho c\n"), "a\n\nb\n\n");
  });

  test("keeps the connection after 'prompt', until 'quit'", async (t) => {
    const { path } = await monitorFor(t);
    const said = await dialogue(open(t, path), "prompt\necho a\necho b\nquit\necho c\n");
    assert.equal(said, "> a\n\n> b\n\n> ");
  });

  test("a client may ask to be kept for longer than usual without a word, as HAProxy's do", async (t) => {
    const { path } = await monitorFor(t, { idle_ms: 100 });
    const socket = open(t, path);
    let said = "";
    socket.setEncoding("utf8").on("data", (text: string) => (said += text));
    socket.write("prompt;set timeout cli 3600\n");
    await until("the prompt", () => said === "\n> ");
    // In this process, too: whoever was to be cut off after 100 ms is by now.
    const other = await monitorFor(t, { idle_ms: 300 });
    await once(open(t, other.path).resume(), "close");
    socket.write("echo a\n");
    await until("the answer", () => said === "\n> a\n\n> ");
  });

  test("answers a client that ends its side first, as socat does", async (t) => {
    const { path } = await monitorFor(t);
    const socket = open(t, path);
    socket.end("echo a\n");
    assert.equal(await dialogue(socket, ""), "a\n\n");
  });

  test("an unknown command is one error line, and the next is answered", async (t) => {
    const { path } = await monitorFor(t);
    const said = await dialogue(open(t, path), "shwo; echo a\n");
    assert.equal(said, "error: unknown command 'shwo'\n\na\n\n");
  });

  test("a line without end is refused", async (t) => {
    const { path } = await monitorFor(t);
    const said = await dialogue(open(t, path), "x".repeat(MONITOR_COMMAND_BYTES + 1));
    assert.equal(said, `error: a line is longer than ${MONITOR_COMMAND_BYTES} bytes\n\n`);
  });

  test("a reader that does not read holds back the answer, and is cut off", async (t) => {
    const { path, pieces } = await monitorFor(t, { answer_ms: 500 });
    const socket = open(t, path);
    await once(socket, "connect");
    socket.pause().write("big\n");
    await until("the answer to begin", () => pieces() > 0);
    await sleep(200);
    assert.ok(pieces() < 100, `${pieces()} pieces of 64 KiB were made for a reader that reads none`);
    // The deadline is in this process too, so it has passed by then.
    await sleep(1500);
    await dialogue(socket.resume(), "");
    assert.ok(pieces() < 100, `${pieces()} pieces were made before the cut`);
  });

  test("a large answer arrives whole", async (t) => {
    const { path } = await monitorFor(t);
    assert.equal((await dialogue(open(t, path), "big\n")).length, 1000 * 65_536 + 1);
  });

  test("one who says nothing is cut off", async (t) => {
    const { path } = await monitorFor(t, { idle_ms: 100 });
    await once(open(t, path).resume(), "close");
  });

  test("serves as many as it may, turns away the others, and serves again", async (t) => {
    const { path } = await monitorFor(t);
    const held = Array.from({ length: MONITOR_CONNECTIONS }, () => open(t, path));
    await Promise.all(held.map((socket) => once(socket, "connect")));
    // The last one is served, so all are accepted.
    held.at(-1)!.write("prompt\n");
    await once(held.at(-1)!, "data");
    assert.equal(await dialogue(open(t, path), "echo a\n"), "");
    for (const socket of held) socket.destroy();
    await until("room again", async () => (await dialogue(open(t, path), "echo a\n")) === "a\n\n");
  });

  test("clients that vanish in the middle of everything leave it in order", async (t) => {
    const { path } = await monitorFor(t);
    for (let i = 0; i < 50; i++) {
      const socket = open(t, path);
      socket.write(i % 2 === 0 ? "big\n" : "echo ");
      await once(socket, i % 2 === 0 ? "data" : "connect");
      socket.destroy();
    }
    assert.equal(await dialogue(open(t, path), "echo a\n"), "a\n\n");
  });
});

describe("a listening Unix socket", () => {
  const options = { mode: 0o660, connections: 4, onConnection: (socket: Socket) => void socket.end() };

  test("has its mode, and is removed in the end", async () => {
    const path = socketPath();
    const server = await listenUnix({ ...options, path });
    assert.equal(statSync(path).mode & 0o777, 0o660);
    await server.close();
    assert.equal(existsSync(path), false);
  });

  test("takes the place of what a killed process left", async () => {
    const path = socketPath();
    const code = `require("node:net").createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, "SIGKILL"))`;
    await once(spawn(process.execPath, ["-e", code]), "exit");
    assert.ok(existsSync(path));
    await (await listenUnix({ ...options, path })).close();
  });

  test("never takes a living one's place, nor that of another file", async (t) => {
    const path = socketPath();
    const server = await listenUnix({ ...options, path });
    t.after(() => server.close());
    await assert.rejects(listenUnix({ ...options, path }), { code: "SOCKET_IN_USE" });
    const file = socketPath();
    writeFileSync(file, "precious");
    await assert.rejects(listenUnix({ ...options, path: file }), { code: "SOCKET_PATH_TAKEN" });
    assert.ok(existsSync(file));
    await assert.rejects(listenUnix({ ...options, path: join(directory, "none/x.sock") }), {
      code: "SOCKET_UNUSABLE",
    });
  });
});
