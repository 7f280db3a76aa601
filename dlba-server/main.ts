/** A dlba-server worker: one process, one event loop, its own listening sockets on every VIP. */
import { join } from "node:path";
import { describeError, DlbaError } from "../conf/errors.ts";
import { giveFiles } from "../conf/given-files.ts";
import { readArrayKey, takeArrayKey } from "../conf/keys.ts";
import { LISTEN_BACKLOG } from "../conf/limits.ts";
import { listenersOf } from "../conf/listeners.ts";
import type { Question, Taken } from "../conf/messages.ts";
import { findNode } from "../conf/node.ts";
import { processOptions, type ProcessOptions } from "../conf/process-options.ts";
import type { Config } from "../conf/schema.ts";
import { readOverrides, type ServerOrder } from "../conf/server-orders.ts";
import { givenConfig } from "../conf/snapshot.ts";
import { workersOf } from "../conf/workers.ts";
import { exitWithParent, hasSupervisor, onOrder, reportReady, reportTaken } from "../net/parent-watch.ts";
import { close, listenTcp } from "../net/sockets.ts";
import { createLogger, type Logger } from "../status/log.ts";
import { publish } from "../status/publish.ts";
import {
  addListener,
  closeWorker,
  createWorker,
  drainWorker,
  removeListener,
  retireWorker,
  runWorker,
} from "./engine/worker.ts";
import { createSpans, takeSpans } from "./engine/spans.ts";
import { openRateTable } from "./engine/rate-limits.ts";
import { shareClientConnections } from "./engine/shared-connections.ts";
import type { Listener, Worker } from "./engine/runtime.ts";
import { connectionsReport } from "./connections-report.ts";
import { applyOrders, forgetComplaints } from "./pools/orders.ts";
import { workerReport } from "./report.ts";
import {
  createServices,
  knownIp,
  renewCertificates,
  renewTickets,
  turnTickets,
  type Services,
} from "./vservers.ts";

/**
 * The sockets that the supervisor gave, in the configuration's order; a worker without one makes its own. `others` are those of the
 * worker that this one stands in for.
 */
function listeners(
  config: Config,
  { vservers }: Services,
  { listenFd, otherListenFd }: ProcessOptions,
): { own: Listener[]; others: Listener[] } {
  const runtimes = new Map(vservers.map((service) => [service.config.name, service.runtime]));
  const places = listenersOf(config);
  const listener = ({ vserver, vip, port }: (typeof places)[number], fd: number): Listener => ({
    fd,
    vserver: runtimes.get(vserver.name)!,
    address: vip,
    port,
  });
  return {
    own: places.map((place, i) =>
      listener(
        place,
        listenFd === undefined ? listenTcp(knownIp(place.vip), place.port, LISTEN_BACKLOG) : listenFd + i,
      ),
    ),
    others: otherListenFd === undefined ? [] : places.map((place, i) => listener(place, otherListenFd + i)),
  };
}

/** Takes what waits for another worker while that one does not run. */
function cover(worker: Worker, others: readonly Listener[], isOn: boolean): void {
  if (worker.isDraining) return;
  if (isOn) worker.log.info({ listeners: others.length }, "stands in for another worker");
  for (const listener of others) {
    const isThere = worker.listeners.has(listener.fd);
    if (isOn && !isThere) addListener(worker, listener);
    if (!isOn && isThere) removeListener(worker, listener);
  }
}

/** Whoever stops taking connections has no socket of the other's open: nobody would take what comes to it. */
function leaveOthers(worker: Worker, others: readonly Listener[]): void {
  if (worker.isDraining) return;
  cover(worker, others, false);
  for (const { fd } of others) close(fd);
}

/** Until when a worker that stops, or has been replaced, may go on with what it has. */
interface Ending {
  end_ms: number;
}

/** Runs until told to stop: then requests under way are answered, for `drain_ms` at most. */
function runUntilStopped(
  worker: Worker,
  others: readonly Listener[],
  ending: Ending,
  stop: () => void,
): void {
  const drain = (): void => {
    leaveOthers(worker, others);
    ending.end_ms = Math.min(ending.end_ms, performance.now() + worker.config.timeouts.drain_ms);
    worker.log.info({ connections: worker.clients.size }, "draining");
    drainWorker(worker);
  };
  process.once("SIGTERM", drain);
  process.once("SIGINT", drain);
  runWorker(worker, () => {
    if (!worker.isDraining || (worker.clients.size > 0 && worker.now_ms < ending.end_ms)) return false;
    void closeWorker(worker).finally(stop);
    return true;
  });
}

/** Another worker is there: connections that are under way go on here, new ones there. */
function retire(worker: Worker, ending: Ending, ended: ReadonlySet<number>, retire_ms: number): void {
  ending.end_ms = Math.min(ending.end_ms, performance.now() + retire_ms);
  if (worker.isDraining) return;
  worker.log.info({ connections: worker.clients.size, retire_ms }, "replaced by another worker, draining");
  retireWorker(worker, ended);
}

function takeCertificates(services: Services, files: Readonly<Record<string, string>>, log: Logger): void {
  giveFiles(files);
  try {
    renewCertificates(services);
    log.info("new connections get the new certificates");
  } catch (error) {
    log.error({ reason: describeError(error) }, "the new certificates can't be used");
  }
}

const TICKETS_LOOK_MS = 10_000;

/** Has web servers stand as operators have said before, and then as the status process says: parts of it in effect together. */
function orderTaker({ pools }: Services, runDir: string, config: Config): (question: Question) => Taken {
  let parts: ServerOrder[] = [];
  const standing = readOverrides(runDir, config).map((override) =>
    Object.assign(override, { complaint: null }),
  );
  applyOrders(pools, standing, performance.now());
  return ({ orders = [], is_last }) => {
    parts.push(...orders);
    if (is_last !== true) return { kind: "taken" };
    applyOrders(pools, parts, performance.now());
    parts = [];
    return { kind: "taken" };
  };
}

function main(): void {
  const options = processOptions(process.argv.slice(2));
  exitWithParent();
  const config = givenConfig(options);
  const node = findNode(config, options.node);
  const log: Logger = createLogger({ node: node.name, process: "dlba-server", worker: options.worker });
  const arrayKey = readArrayKey(config.array.key_file);
  const services = createServices(config, node, arrayKey, {
    index: options.worker,
    count: workersOf(config),
  });
  const orders = orderTaker(services, options.runDir, config);
  const worker = createWorker(config, services.pools, log, node.name);
  const runtimes = services.vservers.map(({ runtime }) => runtime);
  if (config.status.traces !== undefined) worker.spans = createSpans(config.status.traces.one_in);
  worker.rateTable = openRateTable(runtimes, arrayKey, options.runDir);
  const endSharing = shareClientConnections(runtimes, arrayKey, options.runDir, log);
  const { own, others } = listeners(config, services, options);
  const ending: Ending = { end_ms: Infinity };
  let publisher: { close: () => void } | undefined;
  const serve = (): void => {
    for (const listener of own) addListener(worker, listener);
    publisher = publish({
      path: join(options.runDir, "publish.sock"),
      hello: { process: "dlba-server", worker: options.worker, pid: process.pid },
      onAway: () => forgetComplaints(services.pools, performance.now()),
      answer: (topic, question) => {
        if (topic === "orders") return orders(question);
        if (topic === "errors") return { kind: "errors", refusals: worker.refusals.kept };
        if (topic === "connections") return connectionsReport(worker);
        if (topic === "spans") return takeSpans(worker.spans);
        if (topic !== "rows") throw new DlbaError("TOPIC_UNKNOWN", `a worker has no ${topic}`);
        return workerReport(worker);
      },
      log,
    });
    log.info({ listeners: worker.listeners.size }, "serving");
  };
  onOrder((order) => {
    if (order.kind === "serve") serve();
    else if (order.kind === "retire") {
      const ended = new Set(order.ended.flatMap((place) => own[place]?.fd ?? []));
      leaveOthers(worker, others);
      retire(worker, ending, ended, order.retire_ms);
    } else if (order.kind === "cover") cover(worker, others, order.isOn);
    else if (order.kind === "files") takeCertificates(services, order.files, log);
    else if (order.kind === "key") {
      takeArrayKey(arrayKey, order.text);
      renewTickets(services, arrayKey, Date.now());
      reportTaken(order.number);
    }
  });
  setInterval(() => turnTickets(services, arrayKey, Date.now()), TICKETS_LOOK_MS).unref();
  runUntilStopped(worker, others, ending, () => {
    publisher?.close();
    endSharing();
    log.info("stopped");
    // The supervisor's channel would keep the process alive.
    process.exit(0);
  });
  if (!hasSupervisor()) serve();
  reportReady();
}

try {
  main();
} catch (error) {
  createLogger({ process: "dlba-server" }).fatal(describeError(error));
  process.exit(1);
}
