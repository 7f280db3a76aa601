/** `dlba server` and `dlba weight`: web servers are drained, taken out, brought back and weighed while the array runs. */
import { InvalidArgumentError, type Command } from "commander";
import { CONTROL_TIMEOUT_MS, MAX_WEIGHT } from "../conf/limits.ts";
import { SERVER_STATES } from "../conf/server-orders.ts";
import { listOf } from "../conf/suggest.ts";
import { askAdminAt, sayDone } from "./admin.ts";
import { DEFAULT_RUN_DIR } from "./places.ts";

interface ServerOptions {
  readonly runDir: string;
  readonly here?: boolean;
  readonly json?: boolean;
}

/** Adds `server` and `weight` to the command line. */
export function registerServer(program: Command): void {
  withPlace(
    program
      .command("server")
      .description("set a web server's state: drain (no new sessions), maint (no requests at all) or ready")
      .argument("<pool/id>", "the web server", serverName)
      .argument("<state>", listOf(SERVER_STATES, "or"), state),
  ).action(async (name: string, word: string, options: ServerOptions) =>
    say(options, `server ${name} ${word}`),
  );
  withPlace(
    program
      .command("weight")
      .description("set a web server's weight")
      .argument("<pool/id>", "the web server", serverName)
      .argument("<weight>", `from 0 to ${MAX_WEIGHT}`, weight),
  ).action(async (name: string, word: string, options: ServerOptions) =>
    say(options, `weight ${name} ${word}`),
  );
}

const withPlace = (command: Command): Command =>
  command
    .option("--here", "on this node alone, not on the whole array")
    .option("--json", "what was done, as one JSON object")
    .option("--run-dir <directory>", "directory of the node's sockets", DEFAULT_RUN_DIR);

function serverName(text: string): string {
  if (/^[A-Za-z0-9-]{1,63}\/[A-Za-z0-9-]{1,63}$/.test(text)) return text;
  throw new InvalidArgumentError("expected a pool's name and a web server's id, such as shop/web1");
}

function state(text: string): string {
  if (SERVER_STATES.some((name) => name === text)) return text;
  throw new InvalidArgumentError(`expected ${listOf(SERVER_STATES, "or")}`);
}

function weight(text: string): string {
  if (/^\d{1,3}$/.test(text) && Number(text) <= MAX_WEIGHT) return text;
  throw new InvalidArgumentError(`expected a whole number from 0 to ${MAX_WEIGHT}`);
}

async function say({ runDir, here, json }: ServerOptions, line: string): Promise<void> {
  const command = here === true ? `here ${line}` : line;
  sayDone(await askAdminAt(runDir, command, CONTROL_TIMEOUT_MS, "status"), json);
}
