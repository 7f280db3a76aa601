/** `dlba show`: asks the status process of a node on this machine and prints what it says. */
import { Argument, Option, type Command } from "commander";
import { connect } from "node:net";
import { join } from "node:path";
import { DlbaError } from "../conf/errors.ts";
import { MONITOR_ANSWER_MS } from "../conf/limits.ts";
import { TOPICS, type ShowTopic } from "../conf/topics.ts";
import { DEFAULT_RUN_DIR } from "./places.ts";

/** Where the sockets of a node lie unless told otherwise. */

interface ShowOptions {
  readonly json?: boolean;
  readonly csv?: boolean;
  readonly stats?: boolean;
  readonly rate?: boolean;
  readonly runDir: string;
}

/** Adds `show` to the program. */
export function registerShow(program: Command): void {
  program
    .command("show")
    .description("show a status table of the node that runs here")
    .addArgument(new Argument("<table>", "what to show").choices(TOPICS))
    .argument("[rows]", "of buckets: 'all', or a range such as 0-99")
    .option("--json", "as one JSON value")
    .addOption(new Option("--csv", "as CSV").conflicts("json"))
    .option("--stats", "of vservers: connections, packets and bytes so far")
    .addOption(new Option("--rate", "of vservers: the same per second").conflicts("stats"))
    .option("--run-dir <directory>", "directory of the node's sockets", DEFAULT_RUN_DIR)
    .action(async (topic: ShowTopic, rows: string | undefined, options: ShowOptions) =>
      show(topic, rows, options),
    );
}

async function show(topic: ShowTopic, rows: string | undefined, options: ShowOptions): Promise<void> {
  const format = options.json === true ? "json" : options.csv === true ? "csv" : "text";
  if (rows !== undefined && !/^[\w-]+$/.test(rows)) {
    throw new DlbaError("USAGE", `'${rows}' is neither 'all' nor a range such as 0-99`);
  }
  const detail = [
    rows,
    options.stats === true ? "stats" : undefined,
    options.rate === true ? "rate" : undefined,
  ];
  const [word, more] = detail.filter((each) => each !== undefined);
  if (more !== undefined || (word !== rows && topic !== "vservers")) {
    throw new DlbaError("USAGE", "--stats and --rate are for 'show vservers' alone");
  }
  const command = ["show", topic, ...(word === undefined ? [] : [word]), format].join(" ");
  await ask(join(options.runDir, "monitor.sock"), command, (text) => process.stdout.write(text));
}

const ERROR = "error: ";

/**
 * Sends one command to a monitoring socket and hands on its answer, piece by piece. Rejects with DlbaError
 * NOT_RUNNING, NOT_PERMITTED, NO_ANSWER (cut off), or SHOW_REFUSED with the error that the node answered.
 */
export function ask(path: string, command: string, onText: (text: string) => void): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const socket = connect({ path });
  socket.setEncoding("utf8").setTimeout(MONITOR_ANSWER_MS);
  // Held back: the empty line that ends the answer, and enough of the beginning to know an error.
  let held = "";
  let isAnswer = false;
  socket.on("connect", () => socket.write(`${command}\n`));
  socket.on("data", (text: string) => {
    held += text;
    isAnswer ||= held.length >= ERROR.length && !held.startsWith(ERROR);
    if (!isAnswer) return;
    onText(held.slice(0, -1));
    held = held.slice(-1);
  });
  socket.on("timeout", () =>
    socket.destroy(new DlbaError("NO_ANSWER", "the status process does not answer")),
  );
  socket.on("error", (cause) => reject(notReached(path, cause)));
  socket.on("end", () => {
    if (!isAnswer && held.startsWith(ERROR)) {
      reject(new DlbaError("SHOW_REFUSED", held.slice(ERROR.length).trim()));
    } else if (isAnswer && held === "\n") resolve();
    else reject(new DlbaError("NO_ANSWER", "the status process ended before its answer did"));
  });
  return promise;
}

/** What an operator is told when nothing answers at a node's socket; a DlbaError says it already. */
export function notReached(path: string, cause: Error): Error {
  if (cause instanceof DlbaError) return cause;
  const code = "code" in cause ? cause.code : undefined;
  if (code === "EACCES" || code === "EPERM") {
    return new DlbaError("NOT_PERMITTED", `${path} may not be used by this user`, {
      hint: "ask as root, or (for 'show') as a member of the socket's group",
    });
  }
  return new DlbaError("NOT_RUNNING", `no node runs here: nothing listens on ${path}`, {
    hint: "start one with 'dlba run', or name its directory with --run-dir",
  });
}
