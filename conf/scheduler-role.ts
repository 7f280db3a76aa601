/** Who schedules. A pure function of the configuration, so that all nodes decide alike. */
import { DlbaError } from "./errors.ts";
import type { Config, NodeConfig } from "./schema.ts";

/** The scheduler is the first enabled node of the configuration; the first one when none is enabled. */
export function schedulerOf(config: Pick<Config, "nodes">): NodeConfig {
  const node = config.nodes.find((node) => node.enabled) ?? config.nodes[0];
  if (node === undefined) throw new DlbaError("NO_NODES", "the configuration has no nodes");
  return node;
}
