/** Metrics as the configuration of the moment wants them: served somewhere else after a reload, or no more. */
import { describeError } from "../../conf/errors.ts";
import type { Config, NodeConfig } from "../../conf/schema.ts";
import type { Logger } from "../log.ts";
import type { Family } from "./exposition.ts";
import { metricsServer, type MetricsServer } from "./server.ts";

export interface MetricsService {
  /** Takes a configuration. Rejects with METRICS_UNUSABLE; then none are served. */
  readonly apply: (config: Pick<Config, "status">, node: Pick<NodeConfig, "address">) => Promise<void>;
  readonly close: () => Promise<void>;
}

/** Serves nothing until a configuration says where. */
export function metricsService(families: () => Promise<readonly Family[]>, log: Logger): MetricsService {
  let server: MetricsServer | undefined;
  let place = "";
  const close = async (): Promise<void> => {
    const open = server;
    server = undefined;
    place = "";
    await open?.close();
  };
  return {
    apply: async ({ status: { metrics } }, node) => {
      const address = metrics?.address ?? node.address;
      const wanted = metrics === undefined ? "" : `${address} ${metrics.port}`;
      if (wanted === place) return;
      await close();
      if (metrics === undefined) return;
      server = await metricsServer({ address, port: metrics.port, families, log });
      place = wanted;
      log.info({ address, port: metrics.port }, "metrics are served");
    },
    close,
  };
}

/** What a reload can't open is told, and costs nothing else. */
export function logFailure(log: Logger): (error: unknown) => void {
  return (error) => log.error({ reason: describeError(error) }, "no metrics are served");
}
