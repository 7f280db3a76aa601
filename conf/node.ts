/** Which of the configuration's nodes is meant. */
import { DlbaError } from "./errors.ts";
import type { Config, NodeConfig } from "./schema.ts";

/** Finds a node by its name or its number. Throws DlbaError NODE_UNKNOWN, naming those there are. */
export function findNode(config: Config, nameOrNumber: string): NodeConfig {
  const node =
    config.nodes.find(({ name }) => name === nameOrNumber) ??
    config.nodes.find(({ number }) => String(number) === nameOrNumber);
  if (node !== undefined) return node;
  throw new DlbaError("NODE_UNKNOWN", `the configuration has no node ${nameOrNumber}`, {
    hint: `it has ${config.nodes.map(({ name, number }) => `${name} (${number})`).join(", ")}`,
  });
}
