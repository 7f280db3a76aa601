/** Rules as a configuration has them, and requests as rules see them. */
import { parseIp } from "../../../conf/address.ts";
import { rules as rulesSchema } from "../../../conf/schema-rules.ts";
import type { Asked } from "../../../dlba-server/rules/conditions.ts";
import { compileRules, type Rules } from "../../../dlba-server/rules/rules.ts";

export const POOLS = ["main", "api", "static"];

/** Compiled rules, of the pools above. */
export function rulesOf(...configs: readonly unknown[]): Rules {
  return compileRules(rulesSchema.parse(configs), {
    name: "v",
    poolIndex: (name) => POOLS.indexOf(name),
    readPage: (file) => `<p>${file}</p>`,
  })!;
}

export function askedOf(
  overrides: Partial<Asked> & { ip?: string; headers?: Record<string, string> },
): Asked {
  const { ip = "192.0.2.1", headers = {}, ...others } = overrides;
  return {
    method: "GET",
    host: "a.test",
    path: "/",
    query: "",
    client: parseIp(ip),
    header: (name) => headers[name],
    ...others,
  };
}
