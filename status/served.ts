/** What the status process serves over TCP, as the configuration of the moment wants it: somewhere else after a reload, or no more. */
import { describeError } from "../conf/errors.ts";
import type { Config, NodeConfig } from "../conf/schema.ts";
import type { Logger } from "./log.ts";

export interface Served {
  /** Takes a configuration. Rejects when what it wants can't be served; then nothing is. */
  readonly apply: (config: Pick<Config, "status">, node: Pick<NodeConfig, "address">) => Promise<void>;
  readonly close: () => Promise<void>;
}

interface Wanted {
  readonly address?: string | undefined;
  readonly port: number;
}

/** `name` begins the sentence of the log: "metrics are served". */
export function served<Settings extends Wanted>(
  name: string,
  settingsOf: (status: Config["status"]) => Settings | undefined,
  open: (
    settings: Settings & { readonly address: string },
  ) => Promise<{ readonly close: () => Promise<void> }>,
  log: Logger,
): Served {
  let server: { readonly close: () => Promise<void> } | undefined;
  let place = "";
  const close = async (): Promise<void> => {
    const closing = server;
    server = undefined;
    place = "";
    await closing?.close();
  };
  return {
    apply: async ({ status }, node) => {
      const settings = settingsOf(status);
      const address = settings?.address ?? node.address;
      const wanted = settings === undefined ? "" : JSON.stringify({ ...settings, address });
      if (wanted === place) return;
      await close();
      if (settings === undefined) return;
      server = await open({ ...settings, address });
      place = wanted;
      log.info({ address, port: settings.port }, `${name} served`);
    },
    close,
  };
}

/** What can't be served is told, and costs nothing else. */
export function logFailure(name: string, log: Logger): (error: unknown) => void {
  return (error) =>
    log.error({ what: name, reason: describeError(error) }, "something of the status can't be served");
}
