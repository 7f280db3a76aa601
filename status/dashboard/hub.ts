/**
 * Who watches the dashboard, and what they are sent. While somebody does, this node's own processes and all other nodes are asked
 * once in a while, once for all watchers; while nobody does, nobody is. A watcher that takes nothing misses pictures, and is sent
 * everything anew when it takes something again.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { describeError } from "../../conf/errors.ts";
import {
  DASHBOARD_MANY_NODES,
  DASHBOARD_PATIENCE_TICKS,
  DASHBOARD_SLOW_TICK_MS,
  DASHBOARD_TICK_MS,
  DASHBOARD_WAITING_BYTES,
  EVENTS_KEPT,
} from "../../conf/limits.ts";
import type { Config, NodeConfig } from "../../conf/schema.ts";
import { bucketCells, mapChanges, type BucketCells } from "./bucket-cells.ts";
import type { ArrayEvent, NodeSlice, WholeMap } from "./messages.ts";
import { arrayPicture, type Gathered } from "./picture.ts";
import { readSlice } from "./slice.ts";

/** What a node is asked: for its slice, with the events after the last one that is known. */
export const VIEW = "view ";

export interface Watcher {
  /** Takes text in the form of server-sent events. */
  readonly send: (text: string) => void;
  readonly waiting_bytes: () => number;
  readonly end: () => void;
}

export interface HubOptions {
  /** As it is now: it may be reloaded. */
  readonly config: () => Config;
  readonly node: NodeConfig;
  /** What this node tells of itself, with the events after a sequence number of a life. */
  readonly slice: (life: string, sequence: number) => Promise<NodeSlice>;
  /** The owners of its buckets; undefined when its scheduler process is away. */
  readonly owners: () => Promise<Uint8Array | undefined>;
  /** Asks another node's status process; rejects when it has no answer. */
  readonly askNode: (node: NodeConfig, line: string) => Promise<string>;
  readonly tick_ms?: number;
}

export interface Hub {
  /** Sends pictures from now on; what is returned ends that. */
  readonly watch: (watcher: Watcher) => () => void;
  readonly watchers: () => number;
  readonly close: () => void;
}

interface Watched {
  readonly watcher: Watcher;
  /** It has everything up to the last picture. */
  isInStep: boolean;
  missed: number;
}

interface Position {
  readonly life: string;
  readonly sequence: number;
}

interface Hubbing {
  readonly options: HubOptions;
  readonly watched: Set<Watched>;
  readonly positions: Map<number, Position>;
  gathered: Gathered | undefined;
  cells: BucketCells | undefined;
  /** The last ones of all nodes, in the order in which they were told. */
  events: ArrayEvent[];
  isRunning: boolean;
}

/** A hub that nobody watches yet. */
export function createHub(options: HubOptions): Hub {
  const hub: Hubbing = {
    options,
    watched: new Set(),
    positions: new Map(),
    gathered: undefined,
    cells: undefined,
    events: [],
    isRunning: false,
  };
  return {
    watch: (watcher) => {
      const watched: Watched = { watcher, isInStep: false, missed: 0 };
      hub.watched.add(watched);
      if (!hub.isRunning) void run(hub);
      return () => void hub.watched.delete(watched);
    },
    watchers: () => hub.watched.size,
    close: () => {
      for (const { watcher } of hub.watched) watcher.end();
      hub.watched.clear();
    },
  };
}

async function run(hub: Hubbing): Promise<void> {
  hub.isRunning = true;
  // What was told to former watchers is old: rates begin anew.
  hub.gathered = undefined;
  while (hub.watched.size > 0) {
    await tick(hub);
    const many = hub.options.config().nodes.length > DASHBOARD_MANY_NODES;
    const pause_ms = many ? DASHBOARD_SLOW_TICK_MS : DASHBOARD_TICK_MS;
    await sleep(hub.options.tick_ms ?? pause_ms, undefined, { ref: false });
  }
  hub.isRunning = false;
}

async function tick(hub: Hubbing): Promise<void> {
  const { options } = hub;
  const [gathered, owners] = await Promise.all([gather(hub), options.owners()]);
  const picture = arrayPicture(options.config(), options.node, gathered, hub.gathered, Date.now());
  hub.gathered = gathered;
  const news = takeEvents(hub, gathered);
  const before = hub.cells;
  const cells = owners === undefined ? undefined : bucketCells(owners);
  hub.cells = cells;
  const changes = before === undefined || cells === undefined ? undefined : mapChanges(before, cells);
  const pictureText = eventText("array", picture);
  const whole = once(() => (cells === undefined ? "" : eventText("map", wholeMap(cells))));
  const changed = once(() =>
    changes === undefined ? whole() : changes.length === 0 ? "" : eventText("moved", changes),
  );
  const all = once(() => eventText("events", hub.events));
  const fresh = once(() => (news.length === 0 ? "" : eventText("events", news)));
  for (const watched of hub.watched) {
    const { watcher, isInStep } = watched;
    if (watcher.waiting_bytes() > DASHBOARD_WAITING_BYTES) {
      watched.isInStep = false;
      if (++watched.missed >= DASHBOARD_PATIENCE_TICKS) watcher.end();
      continue;
    }
    watched.missed = 0;
    watched.isInStep = true;
    watcher.send(pictureText + (isInStep ? changed() + fresh() : whole() + all()));
  }
}

/** Text is made when the first watcher needs it, and once for all. */
function once(make: () => string): () => string {
  let text: string | undefined;
  return () => (text ??= make());
}

/** An event of the stream; JSON has no line feeds. */
const eventText = (name: string, data: unknown): string =>
  `event: ${name}\ndata: ${JSON.stringify(data)}\n\n`;

function wholeMap({ stretch, cells }: BucketCells): WholeMap {
  return { stretch, cells: Buffer.from(cells).toString("base64") };
}

async function gather({ options, positions }: Hubbing): Promise<Gathered> {
  const { config, node, slice, askNode } = options;
  const slices = new Map<number, NodeSlice>();
  const silences = new Map<number, string>();
  const askOne = async (asked: NodeConfig): Promise<void> => {
    const { life, sequence } = positions.get(asked.number) ?? { life: "-", sequence: 0 };
    try {
      const told =
        asked.number === node.number
          ? await slice(life, sequence)
          : readSlice(await askNode(asked, `${VIEW}${life} ${sequence}`), asked.number);
      if (told === undefined)
        silences.set(asked.number, "its answer can't be read; does it run another version?");
      else slices.set(asked.number, told);
    } catch (error) {
      silences.set(asked.number, describeError(error));
    }
  };
  await Promise.all(config().nodes.map(askOne));
  return { slices, silences };
}

/** Those that no one was told of yet. */
function takeEvents(hub: Hubbing, { slices }: Gathered): ArrayEvent[] {
  const names = new Map(hub.options.config().nodes.map(({ number, name }) => [number, name]));
  const news = [...slices.values()].flatMap(({ number, life, events }) => {
    const known = hub.positions.get(number);
    const after = known?.life === life ? known.sequence : 0;
    const fresh = events.filter(({ sequence }) => sequence > after);
    hub.positions.set(number, { life, sequence: fresh.at(-1)?.sequence ?? after });
    const node = names.get(number) ?? String(number);
    return fresh.map((event) => Object.assign({ node }, event));
  });
  news.sort((a, b) => a.at_ms - b.at_ms);
  hub.events = [...hub.events, ...news].slice(-EVENTS_KEPT / 5);
  return news;
}

/** Reads `view LIFE SEQUENCE`; undefined for another question. */
export function readView(line: string): Position | undefined {
  const [, life, sequence] = /^view ([\w-]{1,64}) (\d{1,15})$/.exec(line) ?? [];
  return life === undefined ? undefined : { life, sequence: Number(sequence) };
}
