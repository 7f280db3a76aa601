/** The words of the monitoring socket: what may be asked, and how an answer is made of what the processes say. */
import { DlbaError } from "../conf/errors.ts";
import type { SchedulerReport, WorkerReport } from "../conf/messages.ts";
import { listOf, suggestion } from "../conf/suggest.ts";
import { TOPICS, type ShowTopic } from "../conf/topics.ts";
import { bucketsTable, readBuckets, type BucketRange } from "./buckets-table.ts";
import type { Collector } from "./collector.ts";
import { errorsTable } from "./errors-table.ts";
import { FORMATS, type Format } from "./grid.ts";
import { infoTable, latestReport, schedulerNumber, type NodeFacts, type Published } from "./info.ts";
import { nodeWebServers, workerReports } from "./sum.ts";
import { nodesTable, summaryTable, webTable } from "./tables.ts";
import { vserversTable, type TrafficView } from "./vservers-table.ts";

export interface ShowCommand {
  readonly topic: ShowTopic;
  readonly format: Format;
  /** Rows of the Client IP Hash Table; undefined for its summary. */
  readonly range: BucketRange | undefined;
  /** What is shown of the vservers' traffic; undefined for where it goes. */
  readonly view: TrafficView;
}

export type Command = ShowCommand | { readonly topic: "help" };

const HELP = `show nodes     DLBA Server Status Table, as the last sweep brought it
show buckets   Client IP Hash Table: shares, idle times and a map; with 'all' or a range such as 0-99: its rows
show vservers  virtual servers and what their traffic goes to; with 'stats' or 'rate': how much of it
show web       Web Server Status Table of this node
show summary   Summary Web Server Status Table of the array (on the scheduler)
show info      versions, role, processes and counters of this node
show errors    the last requests and responses that were refused, with the bad byte marked
help           this text
prompt         keeps the connection open for further commands
quit           closes the connection
A 'show' may end with text, json or csv. Commands on one line are parted by ';'. An empty line ends an answer.
`;

/** Reads one command. Throws DlbaError COMMAND_UNKNOWN, with what may be meant. */
export function parseCommand(text: string): Command {
  const [verb = "", topic, ...words] = text.trim().split(/\s+/);
  if (verb === "help") return { topic: "help" };
  if (verb !== "show") throw unknown("command", verb, ["show", "help", "prompt", "quit"]);
  const known = TOPICS.find((name) => name === topic);
  if (known === undefined) throw unknown("table", topic ?? "", TOPICS);
  const format = FORMATS.find((name) => name === words.at(-1)) ?? "text";
  const [detail, more] = words.at(-1) === format ? words.slice(0, -1) : words;
  const takesDetail = known === "buckets" || known === "vservers";
  const odd = more ?? (takesDetail ? undefined : detail);
  if (odd !== undefined) throw unknown("word", odd, FORMATS);
  const range = known === "buckets" && detail !== undefined ? parseRange(detail) : undefined;
  const view = known === "vservers" && detail !== undefined ? parseView(detail) : undefined;
  return { topic: known, format, range, view };
}

function parseView(text: string): TrafficView {
  if (text === "stats" || text === "rate") return text;
  throw unknown("word", text, ["stats", "rate", ...FORMATS]);
}

function parseRange(text: string): BucketRange {
  if (text === "all") return { first: 0, last: Infinity };
  const [, first, last = first] = /^(\d{1,9})(?:-(\d{1,9}))?$/.exec(text) ?? [];
  if (first === undefined) throw unknown("word", text, ["all", ...FORMATS, "a range such as 0-99"]);
  return { first: Number(first), last: Number(last) };
}

function unknown(what: string, word: string, known: readonly string[]): DlbaError {
  const meant = suggestion(word, known);
  const hint = meant === undefined ? `expected ${listOf(known, "or")}` : `did you mean '${meant}'?`;
  const name = word === "" ? `missing ${what}` : `unknown ${what} '${word.slice(0, 80)}'`;
  return new DlbaError("COMMAND_UNKNOWN", `${name}; ${hint}`);
}

/** Answers a command in pieces. Throws DlbaError NO_ANSWER when the process that knows does not say. */
export async function answerCommand(
  command: Command,
  facts: NodeFacts,
  collector: Collector,
): Promise<Iterable<string>> {
  if (command.topic === "help") return [HELP];
  const { topic, format } = command;
  if (topic === "buckets") return answerBuckets(command, collector);
  if (topic === "vservers") return [await answerVservers(command, facts, collector)];
  if (topic === "errors") return [await answerErrors(format, collector)];
  const published = await collector.ask("rows");
  return [answerRows({ topic, format }, facts, published, collector.absent(published))];
}

async function answerVservers(
  { view, format }: ShowCommand,
  { version, config }: NodeFacts,
  collector: Collector,
): Promise<string> {
  const published = await collector.ask("vservers");
  const report = latestReport(published, "vservers");
  if (report === undefined) throw noAnswer(published);
  const { table_size, balance } = config.scheduler;
  return vserversTable(report, { version, table_size, balance }, view, format);
}

async function answerErrors(format: Format, collector: Collector): Promise<string> {
  const published = await collector.ask("errors");
  const reports = published.flatMap(({ body }) => (body?.kind === "errors" ? [body] : []));
  if (reports.length === 0) throw new DlbaError("NO_ANSWER", "no dlba-server worker answers on this node");
  return errorsTable(
    reports.flatMap(({ refusals }) => refusals),
    format,
  );
}

async function answerBuckets(command: ShowCommand, collector: Collector): Promise<Iterable<string>> {
  const published = await collector.ask("buckets");
  const report = latestReport(published, "buckets");
  const table = report === undefined ? undefined : readBuckets(report);
  if (table === undefined) throw noAnswer(published);
  return bucketsTable(table, command.range, command.format);
}

/** A table that is made of rows. */
interface RowsCommand {
  readonly topic: Exclude<ShowTopic, "buckets" | "vservers" | "errors">;
  readonly format: Format;
}

function answerRows(
  { topic, format }: RowsCommand,
  facts: NodeFacts,
  published: readonly Published[],
  absent: readonly WorkerReport[],
): string {
  switch (topic) {
    case "info":
      return infoTable(facts, published, absent, format);
    case "web": {
      const workers = workerReports(published.flatMap(({ body }) => body ?? []));
      if (workers.length === 0)
        throw new DlbaError("NO_ANSWER", "no dlba-server worker answers on this node");
      return webTable(nodeWebServers(workers, absent), workers.length, format);
    }
    case "summary":
      refuseElsewhere(facts, published);
      return summaryTable(schedulerReport(published), Date.now(), format);
    case "nodes":
      return nodesTable(schedulerReport(published), Date.now(), format);
  }
}

function schedulerReport(published: readonly Published[]): SchedulerReport {
  const report = latestReport(published, "scheduler");
  if (report === undefined) throw noAnswer(published);
  return report;
}

function noAnswer(published: readonly Published[]): DlbaError {
  const isThere = published.some(({ hello }) => hello.process === "scheduler");
  const state = isThere ? "does not answer" : "is not running";
  return new DlbaError("NO_ANSWER", `the scheduler process of this node ${state}`);
}

/** Only the scheduler gathers the array's web server rows. */
function refuseElsewhere({ config, node }: NodeFacts, published: readonly Published[]): void {
  const number = schedulerNumber(latestReport(published, "failover"));
  if (number === node.number) return;
  if (number === null) {
    throw new DlbaError("NOT_SCHEDULER", `node ${node.number} (${node.name}) knows of no scheduler now`);
  }
  const scheduler = config.nodes.find((other) => other.number === number);
  throw new DlbaError(
    "NOT_SCHEDULER",
    `node ${node.number} (${node.name}) is not the scheduler; ask node ${number} (${scheduler?.name ?? "unknown"})`,
  );
}
