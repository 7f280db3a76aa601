/** The words of the monitoring socket: what may be asked, and how an answer is made of what the processes say. */
import { BUCKET_DUMPS } from "../conf/limits.ts";
import { DlbaError } from "../conf/errors.ts";
import type { SchedulerReport } from "../conf/messages.ts";
import { TOPICS, type ShowTopic } from "../conf/topics.ts";
import { bucketsTable, readBuckets, type BucketRange } from "./buckets-table.ts";
import type { Collector } from "./collector.ts";
import type { EventRing } from "./event-ring.ts";
import { eventsTable } from "./events-table.ts";
import { errorsTable } from "./errors-table.ts";
import { FORMATS, type Format } from "./grid.ts";
import { serversState } from "./haproxy/servers-state.ts";
import { statPieces } from "./haproxy/stat-output.ts";
import { statRows } from "./haproxy/stat-rows.ts";
import {
  serversCommand,
  sessCommand,
  statCommand,
  type ServersCommand,
  type SessCommand,
  type StatCommand,
} from "./haproxy/words.ts";
import { infoTable, latestReport, schedulerNumber, type NodeFacts, type Published } from "./info.ts";
import { nodeView, type NodeView } from "./node-view.ts";
import type { Observed } from "./observed.ts";
import { sessionsTable } from "./sessions-table.ts";
import { nodeWebServers } from "./sum.ts";
import { nodesTable, summaryTable, webTable } from "./tables.ts";
import { unknownWord } from "./unknown-word.ts";
import { vserversTable, type TrafficView } from "./vservers-table.ts";

/** Tables that are not HAProxy's. */
type OwnTopic = Exclude<ShowTopic, "stat" | "servers" | "sess" | "events">;

export interface ShowCommand {
  readonly topic: OwnTopic;
  readonly format: Format;
  /** Rows of the Client IP Hash Table; undefined for its summary. */
  readonly range: BucketRange | undefined;
  /** What is shown of the vservers' traffic; undefined for where it goes. */
  readonly view: TrafficView;
}

export type Command =
  | ShowCommand
  | StatCommand
  | ServersCommand
  | SessCommand
  | EventsCommand
  | { readonly topic: "help"; readonly about?: string };

export interface EventsCommand {
  readonly topic: "events";
  readonly format: Format;
  /** Those after this sequence number. */
  readonly since: number;
}

/** What an answer is made of. */
export interface Sources {
  readonly facts: NodeFacts;
  readonly collector: Collector;
  readonly observed: Observed;
  readonly events: EventRing;
  /** Names this life of the status process. */
  readonly life: string;
}

const HELP = `show nodes     DLBA Server Status Table, as the last sweep brought it
show buckets   Client IP Hash Table: shares, idle times and a map; with 'all' or a range such as 0-99: its rows
show vservers  virtual servers and what their traffic goes to; with 'stats' or 'rate': how much of it
show web       Web Server Status Table of this node
show summary   Summary Web Server Status Table of the array (on the scheduler)
show info      versions, role, processes and counters of this node
show stat      vservers and pools in HAProxy's columns; [name|iid type sid] [typed|json] [up] [no-maint]
show servers   with 'state' and, if wanted, a pool: its web servers in HAProxy's form
show sess      client connections, some hundreds of each worker
show events    what happened last; with 'since N': after that sequence number
show errors    the last requests and responses that were refused, with the bad byte marked
help [word]    this text, or its lines with the word
prompt         keeps the connection open for further commands
quit           closes the connection
set timeout cli N  this connection may say nothing for N seconds
A 'show' may end with text, json or csv. Commands on one line are parted by ';'. An empty line ends an answer.
`;

/** Reads one command. Throws DlbaError COMMAND_UNKNOWN, with what may be meant. */
export function parseCommand(text: string): Command {
  const [verb = "", topic, ...words] = text.trim().split(/\s+/);
  if (verb === "help") return topic === undefined ? { topic: "help" } : { topic: "help", about: topic };
  if (verb !== "show")
    throw unknownWord("command", verb, ["show", "help", "prompt", "quit", "set timeout cli"]);
  const known = TOPICS.find((name) => name === topic);
  if (known === undefined) throw unknownWord("table", topic ?? "", TOPICS);
  if (known === "stat") return statCommand(words);
  if (known === "servers") return serversCommand(words);
  if (known === "sess") return sessCommand(words);
  if (known === "events") return eventsCommand(words);
  const format = FORMATS.find((name) => name === words.at(-1)) ?? "text";
  const [detail, more] = words.at(-1) === format ? words.slice(0, -1) : words;
  const takesDetail = known === "buckets" || known === "vservers";
  const odd = more ?? (takesDetail ? undefined : detail);
  if (odd !== undefined) throw unknownWord("word", odd, FORMATS);
  const range = known === "buckets" && detail !== undefined ? parseRange(detail) : undefined;
  const view = known === "vservers" && detail !== undefined ? parseView(detail) : undefined;
  return { topic: known, format, range, view };
}

function eventsCommand(words: readonly string[]): EventsCommand {
  const format = FORMATS.find((name) => name === words.at(-1)) ?? "text";
  const [word, number = "", more] = words.at(-1) === format ? words.slice(0, -1) : words;
  if (word === undefined) return { topic: "events", format, since: 0 };
  if (word !== "since") throw unknownWord("word", word, ["since", ...FORMATS]);
  if (!/^\d{1,15}$/.test(number)) throw unknownWord("number", number, ["a sequence number"]);
  if (more !== undefined) throw unknownWord("word", more, FORMATS);
  return { topic: "events", format, since: Number(number) };
}

function parseView(text: string): TrafficView {
  if (text === "stats" || text === "rate") return text;
  throw unknownWord("word", text, ["stats", "rate", ...FORMATS]);
}

function parseRange(text: string): BucketRange {
  if (text === "all") return { first: 0, last: Infinity };
  const [, first, last = first] = /^(\d{1,9})(?:-(\d{1,9}))?$/.exec(text) ?? [];
  if (first === undefined) throw unknownWord("word", text, ["all", ...FORMATS, "a range such as 0-99"]);
  return { first: Number(first), last: Number(last) };
}

/** Answers a command in pieces. Throws DlbaError NO_ANSWER when the process that knows does not say. */
export async function answerCommand(command: Command, sources: Sources): Promise<Iterable<string>> {
  const { facts, collector } = sources;
  switch (command.topic) {
    case "help":
      return [helpText(command.about)];
    case "buckets":
      return answerBuckets(command, collector);
    case "vservers":
      return [await answerVservers(command, facts, collector)];
    case "errors":
      return [await answerErrors(command.format, collector)];
    case "sess":
      return answerSessions(command.format, collector);
    case "events":
      return [eventsTable(sources.events.since(command.since), sources.life, command.format)];
    case "stat":
      return statPieces(statRows(await viewOf(sources)), command.filter, command.format);
    case "servers":
      return [serversState(await viewOf(sources), command.pool, command.format)];
    case "info":
    case "nodes":
    case "summary":
    case "web":
      return [answerRows({ topic: command.topic, format: command.format }, await viewOf(sources))];
  }
}

/** What the node knows now. */
export async function viewOf({ facts, collector, observed }: Sources): Promise<NodeView> {
  const published = await collector.ask("rows");
  return nodeView(facts, published, collector.absent(published), observed, Date.now());
}

/** All of it when no line has the word. */
function helpText(about: string | undefined): string {
  if (about === undefined) return HELP;
  const lines = HELP.split("\n").filter((line) => line.includes(about));
  return lines.length === 0 ? HELP : lines.map((line) => `${line}\n`).join("");
}

async function answerSessions(format: Format, collector: Collector): Promise<Iterable<string>> {
  const published = await collector.ask("connections");
  const reports = published.flatMap(({ hello: { worker, pid }, body }) =>
    body?.kind === "connections" ? [{ worker, pid, ...body }] : [],
  );
  if (reports.length === 0) throw noWorker();
  return sessionsTable(reports, format);
}

const noWorker = (): DlbaError => new DlbaError("NO_ANSWER", "no dlba-server worker answers on this node");

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
  if (reports.length === 0) throw noWorker();
  return errorsTable(
    reports.flatMap(({ refusals }) => refusals),
    format,
  );
}

/** Answers with rows of the bucket table that are being read now. */
let dumps = 0;

/** Ends with the answer, also when its reader goes away in the middle. */
function* counted(pieces: Iterable<string>): Generator<string> {
  dumps++;
  try {
    yield* pieces;
  } finally {
    dumps--;
  }
}

async function answerBuckets(command: ShowCommand, collector: Collector): Promise<Iterable<string>> {
  const published = await collector.ask("buckets");
  const report = latestReport(published, "buckets");
  const table = report === undefined ? undefined : readBuckets(report);
  if (table === undefined) throw noAnswer(published);
  if (command.range === undefined && command.format === "text") return bucketsTable(table, undefined, "text");
  if (dumps >= BUCKET_DUMPS) {
    const hint = "ask again when one of them has been read";
    throw new DlbaError("TOO_MANY_DUMPS", `${dumps} dumps of the bucket table are being read`, { hint });
  }
  return counted(bucketsTable(table, command.range, command.format));
}

/** A table that is made of rows. */
interface RowsCommand {
  readonly topic: Exclude<OwnTopic, "buckets" | "vservers" | "errors">;
  readonly format: Format;
}

function answerRows({ topic, format }: RowsCommand, view: NodeView): string {
  const { facts, published, workers, absent, now_ms } = view;
  switch (topic) {
    case "info":
      return infoTable(view, format);
    case "web":
      if (workers.length === 0) throw noWorker();
      return webTable(nodeWebServers(workers, absent), workers.length, format);
    case "summary":
      refuseElsewhere(facts, published);
      return summaryTable(schedulerReport(published), now_ms, format);
    case "nodes":
      return nodesTable(schedulerReport(published), now_ms, format);
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
