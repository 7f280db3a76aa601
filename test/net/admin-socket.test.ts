import assert from "node:assert/strict";
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test, type TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { DlbaError } from "../../conf/errors.ts";
import { CONTROL_REQUEST_BYTES } from "../../conf/limits.ts";
import { adminServer, askAdmin } from "../../net/admin-socket.ts";

const directory = mkdtempSync(join(tmpdir(), "dlba-admin-"));
after(() => rmSync(directory, { recursive: true }));
let sockets = 0;
const socketPath = (): string => join(directory, `${++sockets}.sock`);

async function echo(line: string): Promise<string> {
  if (line.startsWith("slow ")) await sleep(100);
  if (line === "refuse") throw new DlbaError("NO", "it can't be:\n no", { hint: "ask again" });
  return line === "nothing" ? "" : line;
}

async function serverAt(t: TestContext, handle = echo): Promise<string> {
  const path = socketPath();
  const server = await adminServer({ path, handle });
  t.after(() => server.close());
  return path;
}

/** All that is said until the other side closes. */
async function dialogue(path: string, text: string): Promise<string> {
  const socket = connect({ path });
  let said = "";
  socket.setEncoding("utf8").on("data", (piece: string) => (said += piece));
  socket.end(text);
  await new Promise((resolve) => socket.on("error", () => undefined).once("close", resolve));
  return said;
}

test("only its own user may use the socket", async (t) => {
  assert.equal(statSync(await serverAt(t)).mode & 0o777, 0o600);
});

test("each command gets one line, in order, whichever took longer", async (t) => {
  const path = await serverAt(t);
  const said = await dialogue(path, "slow a\nb\r\nrefuse\nnothing\n slow c \n");
  assert.equal(said, "ok slow a\nok b\nerror: it can't be: no (ask again)\nok\nok slow c\n");
});

test("a line without end is refused", async (t) => {
  const path = await serverAt(t);
  const said = await dialogue(path, "x".repeat(CONTROL_REQUEST_BYTES + 1));
  assert.equal(said, `error: a line is longer than ${CONTROL_REQUEST_BYTES} bytes\n`);
});

test("one who vanishes while his command is carried out disturbs nobody", async (t) => {
  const path = await serverAt(t);
  for (let i = 0; i < 20; i++) {
    const socket = connect({ path });
    socket.on("error", () => undefined).write("slow a\nslow b\n");
    await sleep(5);
    socket.destroy();
  }
  assert.equal(await dialogue(path, "b\n"), "ok b\n");
});

test("a question gets what stands behind ok, or fails with what was refused", async (t) => {
  const path = await serverAt(t);
  const ask = (line: string): Promise<string> => askAdmin({ path, line, timeout_ms: 20_000 });
  assert.equal(await ask('drain-status {"a":1}'), 'drain-status {"a":1}');
  assert.equal(await ask("nothing"), "");
  await assert.rejects(ask("refuse"), { code: "ADMIN_REFUSED", message: "it can't be: no (ask again)" });
});

test("no answer, a senseless one, and nobody there are errors", async (t) => {
  const mute = await serverAt(t, () => new Promise<never>(() => undefined));
  await assert.rejects(askAdmin({ path: mute, line: "a", timeout_ms: 50 }), {
    code: "NO_ANSWER",
    message: "the scheduler process of this node gave no answer within 50 ms",
  });
  const odd = socketPath();
  const server = createServer((socket) => void socket.end("hello\n"));
  await new Promise<void>((resolve) => server.listen(odd, resolve));
  t.after(() => server.close());
  await assert.rejects(askAdmin({ path: odd, line: "a", timeout_ms: 20_000 }), { code: "NO_ANSWER" });
  const closing = socketPath();
  const hasty = createServer((socket) => void socket.resume().end("ok"));
  await new Promise<void>((resolve) => hasty.listen(closing, resolve));
  t.after(() => hasty.close());
  await assert.rejects(askAdmin({ path: closing, line: "a", timeout_ms: 20_000 }), { code: "NO_ANSWER" });
  await assert.rejects(askAdmin({ path: socketPath(), line: "a", timeout_ms: 20_000 }), { code: "ENOENT" });
});
