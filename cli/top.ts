/** `dlba top`: the array, live, on a terminal. */
import { InvalidArgumentError, type Command } from "commander";
import { join } from "node:path";
import { DlbaError } from "../conf/errors.ts";
import { DEFAULT_RUN_DIR } from "./places.ts";
import { ask } from "./show.ts";
import type { Look, TopState } from "./top/screen.ts";

interface TopOptions {
  readonly interval: number;
  readonly runDir: string;
}

/** Adds `top` to the program. */
export function registerTop(program: Command): void {
  program
    .command("top")
    .description("show nodes, vservers and web servers live; keys: q 1 2 3 s")
    .option("--interval <seconds>", "from one look to the next", seconds, 1)
    .option("--run-dir <directory>", "directory of the node's sockets", DEFAULT_RUN_DIR)
    .action(top);
}

function seconds(text: string): number {
  const value = Number(text);
  if (text.trim() !== "" && value >= 0.2 && value <= 3600) return value;
  throw new InvalidArgumentError("expected a number of seconds from 0.2 to 3600");
}

/** Another screen than the shell's, and no cursor; taken back in the end, whatever ends it. */
const ENTER = "\u001B[?1049h\u001B[?25l";
const LEAVE = "\u001B[?25h\u001B[?1049l";
const HOME = "\u001B[H";
const TO_LINE_END = "\u001B[K";

/** Throws DlbaError: NOT_A_TERMINAL, or that no node runs here. */
async function top({ interval, runDir }: TopOptions): Promise<void> {
  const { stdin, stdout } = process;
  if (!stdin.isTTY || !stdout.isTTY) {
    const hint = "for programs there is 'dlba show stat --json'";
    throw new DlbaError("NOT_A_TERMINAL", "top needs a terminal", { hint });
  }
  const { FIRST, onKey, onLook } = await import("./top/state.ts");
  const { screenLines } = await import("./top/screen.ts");
  const path = join(runDir, "monitor.sock");
  let state: TopState = onLook(FIRST, await look(path));
  const draw = (): void => {
    // A terminal that does not say how large it is has 0 of both.
    const size = { columns: stdout.columns || 80, rows: stdout.rows || 24 };
    const lines = screenLines(state, size).map((line) => line + TO_LINE_END);
    stdout.write(HOME + lines.join("\r\n"));
  };
  let isLooking = false;
  const refresh = async (): Promise<void> => {
    if (isLooking) return;
    isLooking = true;
    const seen = await look(path).catch(reasonOf);
    isLooking = false;
    state = onLook(state, seen);
    draw();
  };
  const { promise: quit, resolve } = Promise.withResolvers<void>();
  const take = (keys: string): void => {
    for (const key of keys) {
      const next = onKey(state, key);
      if (next === "quit") return resolve();
      state = next;
    }
    draw();
  };
  const timer = setInterval(() => void refresh(), interval * 1000);
  for (const signal of ["SIGTERM", "SIGHUP", "SIGINT"] as const) process.once(signal, () => resolve());
  stdout.write(ENTER);
  stdout.on("resize", draw);
  stdin.setRawMode(true).setEncoding("utf8").on("data", take).once("end", resolve);
  draw();
  try {
    await quit;
  } finally {
    clearInterval(timer);
    stdin.setRawMode(false).pause();
    stdout.off("resize", draw);
    stdout.write(LEAVE);
  }
}

function reasonOf(error: unknown): string {
  if (error instanceof DlbaError) return error.message;
  throw error;
}

async function look(path: string): Promise<Look> {
  const { readLook } = await import("./top/read.ts");
  const [info, stat, nodes] = await Promise.all([
    answer(path, "show info json"),
    answer(path, "show stat"),
    // Without a scheduler process there is no such table.
    answer(path, "show nodes json").catch(() => ""),
  ]);
  return readLook({ info, stat, nodes }, performance.now(), new Date().toLocaleTimeString("en-GB"));
}

async function answer(path: string, command: string): Promise<string> {
  let text = "";
  await ask(path, command, (piece) => (text += piece));
  return text;
}
