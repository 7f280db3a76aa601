/** `dlba events`: what happened on the node that runs here, and with `--follow` what happens. */
import { InvalidArgumentError, Option, type Command } from "commander";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { DlbaError } from "../conf/errors.ts";
import { isRecord, parseJson } from "../conf/record.ts";
import { DEFAULT_RUN_DIR } from "./places.ts";
import { ask } from "./show.ts";

interface EventsOptions {
  readonly follow?: boolean;
  readonly json?: boolean;
  readonly csv?: boolean;
  readonly since?: number;
  readonly runDir: string;
}

const POLL_MS = 500;

/** Adds `events` to the program. */
export function registerEvents(program: Command): void {
  program
    .command("events")
    .description(
      "show what happened on the node that runs here: takeovers, nodes and web servers lost and back, …",
    )
    .option("-f, --follow", "go on, and show what happens, until it is interrupted")
    .option("--since <number>", "those after this sequence number", sequenceNumber)
    .option("--json", "as one JSON value; with --follow one for each event")
    .addOption(new Option("--csv", "as CSV").conflicts(["json", "follow"]))
    .option("--run-dir <directory>", "directory of the node's sockets", DEFAULT_RUN_DIR)
    .action(async (options: EventsOptions) => {
      if (options.follow === true) await follow(options);
      else await once(options);
    });
}

function sequenceNumber(text: string): number {
  if (/^\d{1,15}$/.test(text)) return Number(text);
  throw new InvalidArgumentError("expected a whole number");
}

async function once({ runDir, since = 0, json, csv }: EventsOptions): Promise<void> {
  const format = json === true ? "json" : csv === true ? "csv" : "text";
  const command = `show events since ${since} ${format}`;
  await ask(join(runDir, "monitor.sock"), command, (text) => process.stdout.write(text));
}

/** A status process that is started again begins a new life, whose sequence numbers begin anew. */
async function follow({ runDir, since = 0, json }: EventsOptions): Promise<never> {
  const { eventLine } = await import("../status/events-table.ts");
  let last = { life: "", sequence: since };
  let isAway = false;
  for (;;) {
    try {
      const { life, events } = await eventsSince(runDir, last.sequence);
      const isNewLife = last.life !== "" && last.life !== life;
      if (isNewLife) last = { life, sequence: 0 };
      else {
        for (const event of events) {
          process.stdout.write(json === true ? `${JSON.stringify(event)}\n` : eventLine(lineOf(event)));
        }
        last = { life, sequence: events.at(-1)?.sequence ?? last.sequence };
      }
      isAway = false;
      if (isNewLife) continue;
    } catch (error) {
      if (!(error instanceof DlbaError)) throw error;
      // Without a node from the beginning there is nothing to follow.
      if (last.life === "") throw error;
      if (!isAway) process.stderr.write("the status process does not answer; waiting for it\n");
      isAway = true;
    }
    await sleep(POLL_MS);
  }
}

interface ToldEvent {
  readonly sequence: number;
  readonly time: string;
  readonly severity: "info" | "warning" | "error";
  readonly kind: string;
  readonly process: "status";
  readonly count: number;
  readonly facts: Readonly<Record<string, string | number>>;
}

const lineOf = (event: ToldEvent) => ({ ...event, at_ms: Date.parse(event.time) });

async function eventsSince(
  runDir: string,
  sequence: number,
): Promise<{ life: string; events: readonly ToldEvent[] }> {
  let text = "";
  await ask(join(runDir, "monitor.sock"), `show events since ${sequence} json`, (piece) => (text += piece));
  const answer = parseJson(text);
  if (isRecord(answer) && typeof answer["life"] === "string" && Array.isArray(answer["events"])) {
    return { life: answer["life"], events: answer["events"] };
  }
  throw new DlbaError("NO_ANSWER", "the status process' answer can't be read");
}
