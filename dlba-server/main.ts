/** A dlba-server worker: one process, one event loop, its own listening sockets on every VIP. */
import { join } from "node:path";
import { describeError, DlbaError } from "../conf/errors.ts";
import { readArrayKey } from "../conf/keys.ts";
import { LISTEN_BACKLOG } from "../conf/limits.ts";
import { loadConfig } from "../conf/load.ts";
import { findNode } from "../conf/node.ts";
import { processOptions } from "../conf/process-options.ts";
import { exitWithParent, reportReady } from "../net/parent-watch.ts";
import { listenTcp } from "../net/sockets.ts";
import { createLogger, type Logger } from "../status/log.ts";
import { publish } from "../status/publish.ts";
import { addListener, closeWorker, createWorker, drainWorker, runWorker } from "./engine/worker.ts";
import type { Worker } from "./engine/runtime.ts";
import { workerReport } from "./report.ts";
import { createServices, knownIp, type Services } from "./vservers.ts";

function listen(worker: Worker, services: Services): void {
  for (const { config, runtime } of services.vservers) {
    for (const vip of config.vips.map(knownIp)) {
      for (const port of config.ports) {
        const fd = listenTcp(vip, port, LISTEN_BACKLOG);
        addListener(worker, { fd, vserver: runtime, address: vip.text, port });
      }
    }
  }
}

/** Runs until told to stop: then requests under way are answered, for `drain_ms` at most. */
function runUntilStopped(worker: Worker, stop: () => void): void {
  let drainEnd_ms = Infinity;
  const drain = (): void => {
    if (worker.isDraining) return;
    drainEnd_ms = performance.now() + worker.config.timeouts.drain_ms;
    worker.log.info({ connections: worker.clients.size }, "draining");
    drainWorker(worker);
  };
  process.once("SIGTERM", drain);
  process.once("SIGINT", drain);
  runWorker(worker, () => {
    if (!worker.isDraining || (worker.clients.size > 0 && worker.now_ms < drainEnd_ms)) return false;
    void closeWorker(worker).finally(stop);
    return true;
  });
}

function main(): void {
  const options = processOptions(process.argv.slice(2));
  exitWithParent();
  const config = loadConfig(options.configFile);
  const node = findNode(config, options.node);
  const log: Logger = createLogger({ node: node.name, process: "dlba-server", worker: options.worker });
  const services = createServices(config, node, readArrayKey(config.array.key_file));
  const worker = createWorker(config, services.pools, log, node.name);
  listen(worker, services);
  const publisher = publish({
    path: join(options.runDir, "publish.sock"),
    hello: { process: "dlba-server", worker: options.worker, pid: process.pid },
    answer: (topic) => {
      if (topic === "errors") return { kind: "errors", refusals: worker.refusals.kept };
      if (topic !== "rows") throw new DlbaError("TOPIC_UNKNOWN", `a worker has no ${topic}`);
      return workerReport(worker);
    },
    log,
  });
  runUntilStopped(worker, () => {
    publisher.close();
    log.info("stopped");
    // The supervisor's channel would keep the process alive.
    process.exit(0);
  });
  log.info({ listeners: worker.listeners.size }, "serving");
  reportReady();
}

try {
  main();
} catch (error) {
  createLogger({ process: "dlba-server" }).fatal(describeError(error));
  process.exit(1);
}
