/** The VIPs of a configuration. */
import { parseIp } from "./address.ts";
import type { Config } from "./schema.ts";

/** All VIPs of the array, each once, as canonical text. */
export function vipsOf(config: Pick<Config, "vservers">): string[] {
  const all = config.vservers.flatMap(({ vips }) => vips.map((vip) => parseIp(vip)?.text ?? vip));
  return [...new Set(all)];
}
