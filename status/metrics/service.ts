/** Metrics as the configuration of the moment wants them. */
import type { Logger } from "../log.ts";
import { served, type Served } from "../served.ts";
import type { Family } from "./exposition.ts";
import { metricsServer } from "./server.ts";

/** Serves nothing until a configuration says where. `apply` rejects with METRICS_UNUSABLE. */
export function metricsService(families: () => Promise<readonly Family[]>, log: Logger): Served {
  return served(
    "metrics are",
    ({ metrics }) => metrics,
    ({ address, port }) => metricsServer({ address, port, families, log }),
    log,
  );
}
