/** How many dlba-server processes a node runs. */
import { availableParallelism } from "node:os";
import type { Config } from "./schema.ts";

/** As many as are configured, or one per core. */
export const workersOf = ({ limits }: Config): number =>
  limits.workers === 0 ? availableParallelism() : limits.workers;
