/** The status process: gathers rows, serves the monitoring socket, answers the scheduler's sweep. */
import { join } from "node:path";
import { DlbaError, describeError } from "../conf/errors.ts";
import { type ArrayKey, readArrayKey, takeArrayKey } from "../conf/keys.ts";
import {
  CONTROL_TIMEOUT_MS,
  EVENTS_KEPT,
  MONITOR_ANSWER_MS,
  MONITOR_IDLE_MS,
  PUBLISH_ANSWER_MS,
  CLOCK_LOOK_MS,
} from "../conf/limits.ts";
import { processOptions, type ProcessOptions } from "../conf/process-options.ts";
import type { Config, NodeConfig } from "../conf/schema.ts";
import { givenConfig } from "../conf/snapshot.ts";
import { findNode } from "../conf/node.ts";
import { productVersion } from "../conf/version.ts";
import { readOverrides } from "../conf/server-orders.ts";
import { adminServer, askAdmin } from "../net/admin-socket.ts";
import { controlClient, controlServer, type ControlServer } from "../net/control-tls.ts";
import { exitWithParent, onOrder, reportReady, reportTaken } from "../net/parent-watch.ts";
import { collect, type Collector } from "./collector.ts";
import { certificateWatch, endWatch } from "./certificates.ts";
import { answerCommand, parseCommand, viewOf, type Sources } from "./commands.ts";
import { createHub, readView } from "./dashboard/hub.ts";
import type { NodeSlice } from "./dashboard/messages.ts";
import { dashboardService } from "./dashboard/server.ts";
import { nodeSlice } from "./dashboard/slice.ts";
import { latestReport, type NodeFacts } from "./info.ts";
import { eventOf } from "./event-kinds.ts";
import { eventRing } from "./event-ring.ts";
import { clockWatch } from "./clock-watch.ts";
import { createLogger, onLogLine } from "./log.ts";
import { metricFamilies } from "./metrics/families.ts";
import { metricsService } from "./metrics/service.ts";
import { monitor } from "./monitor.ts";
import { monitorService } from "./monitor-tls.ts";
import { lookAt, nodeView } from "./node-view.ts";
import { observer } from "./observed.ts";
import { operatorCommand } from "./operator-desk.ts";
import { createOrderBook, ordersOf } from "./order-book.ts";
import { keepServed } from "./served.ts";
import { createServerDesk, type ServerDesk } from "./server-desk.ts";
import { nodeStatus, workerReports } from "./sum.ts";
import { exportTraces } from "./traces/exporter.ts";
import { createTelling } from "./telling.ts";
import { startWebChecks, type Checking } from "./web-checks.ts";

const CERTIFICATE_LOOK_MS = 3_600_000;

interface Closable {
  readonly close: () => Promise<void>;
}

async function main(options: ProcessOptions): Promise<void> {
  exitWithParent();
  let facts = nodeFacts(options);
  const log = createLogger({ node: facts.node.name, process: "status" });
  const arrayKey = readArrayKey(facts.config.array.key_file);
  const opened: Closable[] = [];
  const stop = async (): Promise<void> => {
    await Promise.all(opened.splice(0).map((each) => each.close()));
    // The supervisor's channel, which somebody listens to, would keep the process alive.
    process.channel?.unref();
  };
  onOrder((order) => {
    if (order.kind === "configure") facts = factsOf(options, order.config);
  });
  process.once("SIGTERM", () => void stop());
  process.once("SIGINT", () => void stop());
  try {
    const observed = observer();
    const book = createOrderBook(readOverrides(options.runDir, facts.config));
    const telling = createTelling(() => ordersOf(book));
    const events = eventRing(EVENTS_KEPT);
    onLogLine((sentence, line) => {
      const event = eventOf(sentence, line, "status", 0, Date.now());
      if (event !== undefined) events.add(event);
    });
    const collector = await collect(join(options.runDir, "publish.sock"), PUBLISH_ANSWER_MS, {
      onRows: (published, absent) =>
        observed.note(lookAt(nodeView(current(facts), published, absent, observed, Date.now()))),
      onEvent: events.add,
      telling,
    });
    const life = `${process.pid}-${Math.round(performance.timeOrigin)}`;
    const sources = (): Sources => ({ facts: current(facts), collector, observed, events, life });
    opened.push(collector);
    const desk = createServerDesk({
      config: () => facts.config,
      node: facts.node,
      runDir: options.runDir,
      book,
      telling,
      askNode: asker(facts, arrayKey),
      log,
    });
    opened.push(
      await adminServer({
        path: join(options.runDir, "servers.sock"),
        handle: (line) => operatorCommand(line, options.runDir, (command) => desk.command(command)),
      }),
    );
    const check = (): Checking => startWebChecks(facts.config, book, log, () => void telling.changed());
    let checks = check();
    opened.push({ close: async () => checks.stop() });
    onOrder((order) => {
      if (order.kind !== "configure") return;
      checks.stop();
      checks = check();
    });
    const monitoring = {
      answer: async (command: string) => answerCommand(parseCommand(command), sources()),
      idle_ms: MONITOR_IDLE_MS,
      answer_ms: MONITOR_ANSWER_MS,
      log,
    };
    opened.push(await monitor({ ...monitoring, path: join(options.runDir, "monitor.sock") }));
    const nodes = await answerNodes({ facts, arrayKey, sources, desk, runDir: options.runDir });
    opened.push(nodes);
    onOrder((order) => {
      if (order.kind !== "key") return;
      takeArrayKey(arrayKey, order.text);
      nodes.dropForgotten();
      reportTaken(order.number);
    });
    const traces = exportTraces({
      endpoint: () => facts.config.status.traces?.endpoint,
      resource: { array: facts.config.array.name, node: facts.node.name, version: facts.version },
      take: async () =>
        (await collector.ask("spans")).flatMap(({ body }) => (body?.kind === "spans" ? body : [])),
      log,
    });
    opened.push({ close: async () => traces.close() });
    let certificates = certificateWatch(facts.config);
    const metrics = metricsService(async () => {
      const view = await viewOf(sources());
      return metricFamilies(view, certificates(performance.now()));
    }, log);
    const hub = createHub({
      config: () => facts.config,
      node: facts.node,
      slice: (known, sequence) => sliceOf(sources(), known, sequence, true),
      owners: () => ownersOf(collector),
      askNode: asker(facts, arrayKey),
    });
    opened.push({ close: async () => hub.close() });
    const remote = keepServed(
      {
        metrics,
        monitor: monitorService(monitoring, log),
        dashboard: dashboardService(hub, log),
      },
      () => facts,
      log,
    );
    opened.push(remote);
    await remote.apply();
    const ends = endWatch();
    const lookAtEnds = (): void => {
      for (const { file, days_left } of ends(certificates(performance.now()), Date.now())) {
        log.warn({ file, days_left }, "a certificate ends soon");
      }
    };
    lookAtEnds();
    const jumped = clockWatch();
    const lookAtClock = (): void => {
      const seconds = jumped(Date.now(), performance.now());
      if (seconds !== 0) log.warn({ seconds }, "the clock has jumped");
    };
    const clock = setInterval(lookAtClock, CLOCK_LOOK_MS).unref();
    opened.push({ close: async () => clearInterval(clock) });
    const looking = setInterval(lookAtEnds, CERTIFICATE_LOOK_MS).unref();
    opened.push({ close: async () => clearInterval(looking) });
    onOrder((order) => {
      if (order.kind !== "configure") return;
      certificates = certificateWatch(facts.config);
      void remote.apply();
    });
    reportReady();
    void desk.catchUp();
    log.info({ address: facts.node.address, port: facts.config.status.port }, "status is served");
  } catch (error) {
    await stop();
    throw error;
  }
}

const nodeFacts = (options: ProcessOptions): NodeFacts => factsOf(options, givenConfig(options));

function factsOf(options: ProcessOptions, config: Config): NodeFacts {
  return {
    version: productVersion(),
    configFile: options.configFile,
    config,
    node: findNode(config, options.node),
    pid: process.pid,
    uptime_s: 0,
  };
}

const current = (facts: NodeFacts): NodeFacts => ({ ...facts, uptime_s: process.uptime() });

/** Asks another node's status process, which knows whom to believe by the array key. */
function asker(
  { config }: NodeFacts,
  arrayKey: ArrayKey,
): (node: NodeConfig, line: string) => Promise<string> {
  const { port } = config.status;
  // Whoever gave the command waits for all nodes.
  const timeout_ms = Math.min(config.scheduler.sweep_timeout_ms, CONTROL_TIMEOUT_MS / 2);
  return ({ address }, line) => controlClient({ address, port, arrayKey, line, timeout_ms });
}

/** What this node tells the dashboard, be it its own or another node's. */
async function sliceOf(sources: Sources, life: string, sequence: number, isOwn: boolean): Promise<NodeSlice> {
  const [view, published] = await Promise.all([viewOf(sources), sources.collector.ask("vservers")]);
  const events = sources.events.since(life === sources.life ? sequence : 0);
  const vservers = latestReport(published, "vservers");
  return nodeSlice({ view, vservers, life: sources.life, events, isOwn });
}

async function ownersOf(collector: Collector): Promise<Uint8Array | undefined> {
  const report = latestReport(await collector.ask("owners"), "owners");
  return report === undefined ? undefined : Buffer.from(report.owners, "base64");
}

interface NodesDesk {
  readonly facts: NodeFacts;
  readonly arrayKey: ArrayKey;
  readonly sources: () => Sources;
  readonly desk: ServerDesk;
  readonly runDir: string;
}

/** The scheduler's sweep, the dashboard, what the other nodes' operators have said of web servers, and changes of the array key. */
function answerNodes({ facts, arrayKey, sources, desk, runDir }: NodesDesk): Promise<ControlServer> {
  const { config, node } = facts;
  return controlServer({
    address: node.address,
    port: config.status.port,
    arrayKey,
    handle: async (line) => {
      if (line.startsWith("key ")) return askSupervisor(runDir, line);
      const answer = await desk.answerNode(line);
      if (answer !== undefined) return answer;
      const wanted = readView(line);
      if (wanted !== undefined)
        return JSON.stringify(await sliceOf(sources(), wanted.life, wanted.sequence, false));
      if (line !== "status") throw new DlbaError("CONTROL_UNKNOWN", "only 'status' can be asked");
      const { collector } = sources();
      const published = await collector.ask("rows");
      const workers = workerReports(published.flatMap(({ body }) => body ?? []));
      return JSON.stringify(nodeStatus(node.number, workers, collector.absent(published)));
    },
  });
}

/** The array key is the supervisor's: this process has it told, and passes the answer on. */
const askSupervisor = (runDir: string, line: string): Promise<string> =>
  askAdmin({
    path: join(runDir, "supervisor.sock"),
    line,
    timeout_ms: CONTROL_TIMEOUT_MS,
    process: "supervisor",
  });

try {
  await main(processOptions(process.argv.slice(2)));
} catch (error) {
  createLogger({ process: "status" }).fatal({ reason: describeError(error) }, "status can't be served");
  process.exitCode = 1;
}
