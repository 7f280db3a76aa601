/** Metrics as the configuration of the moment wants them. */
import type { Logger } from "../log.ts";
import { served, type Served } from "../served.ts";
import type { Family } from "./exposition.ts";
import { metricsServer } from "./server.ts";

/** Serves nothing until a configuration says where. `apply` rejects with METRICS_UNUSABLE. */
export function metricsService(families: () => Promise<readonly Family[]>, log: Logger): Served {
  const open = ({ address, port }: { readonly address: string; readonly port: number }) =>
    metricsServer({ address, port, families, log });
  return served({ name: "metrics are", settingsOf: ({ metrics }) => metrics, open }, log);
}
