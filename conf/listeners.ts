/** What the workers of a node listen on. */
import { parseIp } from "./address.ts";
import type { Config, VserverConfig } from "./schema.ts";

export interface ListenerPlace {
  readonly vserver: VserverConfig;
  /** Canonical text. */
  readonly vip: string;
  readonly port: number;
}

/**
 * Every VIP and port of the proxied vservers, in the configuration's order: supervisor and worker number the sockets that the
 * one gives to the other by it.
 */
export function listenersOf({ vservers }: Pick<Config, "vservers">): ListenerPlace[] {
  return vservers
    .filter(({ protocol }) => protocol === "http" || protocol === "https")
    .flatMap((vserver) =>
      [...new Set(vserver.vips.map((vip) => parseIp(vip)?.text ?? vip))].flatMap((vip) =>
        [...new Set(vserver.ports)].map((port) => ({ vserver, vip, port })),
      ),
    );
}
