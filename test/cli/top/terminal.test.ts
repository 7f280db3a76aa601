/** `dlba top` on a terminal, with a monitoring socket that the test plays. */
import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { answerCommand, parseCommand } from "../../../status/commands.ts";
import { eventRing } from "../../../status/event-ring.ts";
import { monitor } from "../../../status/monitor.ts";
import { servedNode, facts } from "../../status/haproxy/node.ts";
import { quiet } from "../../status/samples.ts";

const DLBA = join(import.meta.dirname, "../../../bin/dlba");
const directory = mkdtempSync(join(tmpdir(), "dlba-top-"));
after(() => rmSync(directory, { recursive: true }));

test("it fills a terminal, follows its size and keys, and leaves it as it was", async (t) => {
  const { published, observed } = servedNode();
  const collector = { ask: async () => published, absent: () => [], close: async () => undefined };
  const sources = { facts, collector, observed, events: eventRing(10), life: "1" };
  const server = await monitor({
    path: join(directory, "monitor.sock"),
    answer: async (command) => answerCommand(parseCommand(command), sources),
    idle_ms: 60_000,
    answer_ms: 60_000,
    log: quiet,
  });
  t.after(() => server.close());
  const command = `stty rows 12 cols 100; ${DLBA} top --interval 0.2 --run-dir ${directory}; echo "left with $?"; stty -a`;
  const terminal = spawn("script", ["-qec", command, "/dev/null"], {
    env: { ...process.env, TERM: "xterm", SHELL: "/bin/bash" },
  });
  t.after(() => terminal.kill("SIGKILL"));
  let screen = "";
  let told: (() => void) | undefined;
  terminal.stdout.setEncoding("utf8").on("data", (text: string) => {
    screen += text;
    told?.();
  });
  const shows = async (what: RegExp): Promise<void> => {
    while (!what.test(screen)) {
      await new Promise<void>((resolve, reject) => {
        told = resolve;
        terminal.once("exit", () => reject(new Error(`it ended: ${JSON.stringify(screen)}`)));
      });
    }
  };
  await shows(/shop-http/);
  await shows(/q quit/);
  screen = "";
  terminal.stdin.write("3");
  await shows(/shop\/web1 .*UP 1\/2/);
  screen = "";
  terminal.stdin.write("1");
  await shows(/no table/);
  const ended = new Promise<void>((resolve) => terminal.once("exit", () => resolve()));
  terminal.stdin.write("q");
  await ended;
  assert.ok(screen.includes("\u001B[?25h\u001B[?1049l"), "cursor and screen are given back");
  assert.match(screen, /left with 0/);
  assert.match(screen, /[^-]icanon/, "the terminal is not raw any more");
});

test("without a terminal, or a node, it says so", async () => {
  const outcome = await new Promise<{ code: number | null; stderr: string }>((resolve) => {
    const child = execFile(DLBA, ["top", "--run-dir", directory], (_error, _stdout, stderr) =>
      resolve({ code: child.exitCode, stderr }),
    );
  });
  assert.equal(outcome.code, 3);
  assert.match(outcome.stderr, /^dlba: top needs a terminal/);
});
