/** What the status process serves over TCP, as the configuration of the moment wants it: somewhere else after a reload, or no more. */
import { describeError } from "../conf/errors.ts";
import { SERVED_FILES_LOOK_MS } from "../conf/limits.ts";
import type { Config, NodeConfig } from "../conf/schema.ts";
import type { Logger } from "./log.ts";

interface Facts {
  readonly config: Pick<Config, "status">;
  readonly node: Pick<NodeConfig, "address">;
}

export interface Served {
  /** Takes a configuration. Rejects when what it wants can't be served; then nothing is. */
  readonly apply: (config: Facts["config"], node: Facts["node"]) => Promise<void>;
  readonly close: () => Promise<void>;
}

interface Wanted {
  readonly address?: string | undefined;
  readonly port: number;
}

export interface Service<Settings extends Wanted> {
  /** Begins the sentence of the log: "metrics are served". */
  readonly name: string;
  /** Undefined when nothing is to be served. */
  readonly settingsOf: (status: Config["status"]) => Settings | undefined;
  readonly open: (
    settings: Settings & { readonly address: string },
  ) => Promise<{ readonly close: () => Promise<void> }>;
  /** What stands in files, beside the settings: when it is another one, all is opened anew and who was let in by it is cut off. */
  readonly stampOf?: (settings: Settings) => string;
}

/** Serves nothing until a configuration says where. */
export function served<Settings extends Wanted>(service: Service<Settings>, log: Logger): Served {
  const { name, settingsOf, open, stampOf = () => "" } = service;
  let server: { readonly close: () => Promise<void> } | undefined;
  let place = "";
  let last = Promise.resolve();
  const close = async (): Promise<void> => {
    const closing = server;
    server = undefined;
    place = "";
    await closing?.close();
  };
  const apply: Served["apply"] = async ({ status }, node) => {
    const settings = settingsOf(status);
    const address = settings?.address ?? node.address;
    const wanted =
      settings === undefined ? "" : `${JSON.stringify({ ...settings, address })} ${stampOf(settings)}`;
    if (wanted === place) return;
    await close();
    if (settings === undefined) return;
    server = await open({ ...settings, address });
    place = wanted;
    log.info({ address, port: settings.port }, `${name} served`);
  };
  // One after the other: a look at files may fall together with a reload.
  const inTurn = (act: () => Promise<void>): Promise<void> => {
    const done = last.then(act);
    last = done.catch(() => undefined);
    return done;
  };
  return { apply: (config, node) => inTurn(() => apply(config, node)), close: () => inTurn(close) };
}

/**
 * Keeps services as the configuration and their files want them: when told so, and by a look once a minute. What can't be served is
 * told once, tried again, and costs nothing else.
 */
export function keepServed(
  services: Readonly<Record<string, Served>>,
  facts: () => Facts,
  log: Logger,
): { readonly apply: () => Promise<void>; readonly close: () => Promise<void> } {
  const told = new Map<string, string>();
  const applyOne = async ([name, service]: [string, Served]): Promise<void> => {
    const { config, node } = facts();
    try {
      await service.apply(config, node);
      told.delete(name);
    } catch (error) {
      const reason = describeError(error);
      if (told.get(name) === reason) return;
      told.set(name, reason);
      log.error({ what: name, reason }, "something of the status can't be served");
    }
  };
  const apply = async (): Promise<void> => {
    await Promise.all(Object.entries(services).map(applyOne));
  };
  const timer = setInterval(() => void apply(), SERVED_FILES_LOOK_MS).unref();
  return {
    apply,
    close: async () => {
      clearInterval(timer);
      await Promise.all(Object.values(services).map((service) => service.close()));
    },
  };
}
