/**
 * Messages through WebSockets, each compared with what comes back; in the first third the workers are replaced, in the second
 * one of two web servers is killed.
 */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { randomWords } from "../../conf/random.ts";
import { Closed, type EchoClient, openPlain, openTls } from "./echo-clients.ts";
import { openHttp2 } from "./http2-client.ts";
import { startWorkers, type Workers } from "./workers.ts";

export interface EchoReport {
  readonly ok: boolean;
  readonly messages: number;
  readonly bytes: number;
  /** What came back was something else. */
  readonly changed: number;
  /** Answers that did not come, and connections that did not end. */
  readonly hung: number;
  /** Connections that were open when the workers were replaced, and those of them that went on. */
  readonly open_at_reload: number;
  readonly survived_reload: number;
  /** Connections that ended when a web server was killed, by what the client saw. */
  readonly ended_by_death: Readonly<Record<string, number>>;
  /** Connections that ended at any other time. */
  readonly ended_otherwise: Readonly<Record<string, number>>;
  readonly kinds: Readonly<Record<string, number>>;
  readonly seconds: number;
}

export interface EchoOptions {
  readonly messages: number;
  readonly connections: number;
  readonly seed: number;
  readonly say: (text: string) => void;
}

const MOST_BYTES = 1_048_576;
/** Round what the framing has forms for, and at the ends. */
const EDGES = [0, 1, 125, 126, 127, 65_535, 65_536, MOST_BYTES] as const;
const ANSWER_WITHIN_MS = 60_000;

interface Tally {
  messages: number;
  bytes: number;
  changed: number;
  hung: number;
  readonly openAtReload: Set<EchoClient>;
  readonly survived: Set<EchoClient>;
  readonly byDeath: Map<string, number>;
  readonly otherwise: Map<string, number>;
  readonly kinds: Map<string, number>;
  isDeathNear: boolean;
}

const count = (counts: Map<string, number>, what: string): void =>
  void counts.set(what, (counts.get(what) ?? 0) + 1);

/** Carries it out, and leaves nothing behind. */
export async function runEchoes(options: EchoOptions): Promise<EchoReport> {
  const started_ms = performance.now();
  const webs = await Promise.all([startEcho(), startEcho()]);
  const [httpPort, httpsPort] = [await freePort(), await freePort()];
  const serverPorts = webs.map(({ port }) => port);
  const workers = await startWorkers({ httpPort, httpsPort, serverPorts, workers: 2 });
  const tally = newTally();
  try {
    const openers = openersOf(workers, httpPort, httpsPort);
    const events = eventsOf(options, workers, webs[0].child, tally);
    await Promise.all(
      Array.from({ length: options.connections }, async (_, i) =>
        converse(options, tally, openers[i % openers.length]!, options.seed + i, events),
      ),
    );
    await events.done();
  } finally {
    await workers.stop();
    for (const { child } of webs) child.kill("SIGKILL");
  }
  return reportOf(options, tally, started_ms);
}

type Opener = () => Promise<EchoClient>;

function openersOf({ ca }: Workers, httpPort: number, httpsPort: number): Opener[] {
  const authority = readFileSync(ca);
  return [
    async () => openPlain(httpPort),
    async () => openTls(httpsPort, authority),
    async () => openHttp2(httpsPort, authority),
  ];
}

interface Events {
  /** A message has come back. */
  readonly step: (client: EchoClient) => void;
  /** Connections that are open now. */
  readonly open: Set<EchoClient>;
  /** All that is to happen has. */
  readonly areOver: () => boolean;
  readonly done: () => Promise<void>;
}

function eventsOf(
  { messages, say }: EchoOptions,
  workers: Workers,
  victim: ChildProcess,
  tally: Tally,
): Events {
  const open = new Set<EchoClient>();
  let reload: Promise<void> | undefined;
  let isReplaced = false;
  const replace = async (): Promise<void> => {
    say(`after ${tally.messages} messages the workers are replaced`);
    for (const client of open) tally.openAtReload.add(client);
    await workers.reload();
    isReplaced = true;
  };
  return {
    open,
    step: (client) => {
      if (isReplaced && tally.openAtReload.has(client)) tally.survived.add(client);
      if (tally.messages >= messages / 3) reload ??= replace();
      const isThrough = isReplaced && tally.survived.size === tally.openAtReload.size;
      if (tally.isDeathNear || !isThrough || tally.messages < (messages * 2) / 3) return;
      say(`after ${tally.messages} messages a web server is killed`);
      tally.isDeathNear = true;
      victim.kill("SIGKILL");
    },
    areOver: () => tally.byDeath.size > 0,
    done: async () => reload,
  };
}

/** One client's share: a message at a time, on a new connection where the one before has ended. */
async function converse(
  { messages }: EchoOptions,
  tally: Tally,
  open: Opener,
  seed: number,
  events: Events,
): Promise<void> {
  const random = randomWords(seed);
  let client = await open();
  events.open.add(client);
  count(tally.kinds, client.kind);
  while (tally.hung === 0 && (tally.messages < messages || !events.areOver())) {
    const message = messageOf(random);
    try {
      const answer = await inTime(client.echo(message));
      if (!answer.equals(message)) tally.changed++;
      tally.messages++;
      tally.bytes += message.length;
      events.step(client);
    } catch (error) {
      events.open.delete(client);
      if (!(error instanceof Closed)) {
        tally.hung++;
        break;
      }
      count(tally.isDeathNear ? tally.byDeath : tally.otherwise, `${client.kind}: ${error.message}`);
      client = await open();
      events.open.add(client);
    }
  }
  events.open.delete(client);
  client.close();
}

function messageOf(random: () => number): Buffer {
  const kind = random() % 4;
  const length =
    kind === 0 ? EDGES[random() % EDGES.length]! : Math.floor(MOST_BYTES ** (random() / 4_294_967_296));
  const message = Buffer.allocUnsafe(length);
  // Words from the seed, repeated with a stride that no buffer has.
  const block = Buffer.alloc(4093);
  for (let at = 0; at + 4 <= block.length; at += 4) block.writeUInt32LE(random(), at);
  for (let at = 0; at < length; at += block.length) block.copy(message, at);
  return message;
}

async function inTime<T>(work: Promise<T>): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new Error("no answer and no end")), ANSWER_WITHIN_MS);
  try {
    return await Promise.race([work, promise]);
  } finally {
    clearTimeout(timer);
  }
}

async function startEcho(): Promise<{ port: number; child: ChildProcess }> {
  const child = fork(join(import.meta.dirname, "echo-server.ts"), {
    stdio: ["ignore", "pipe", "inherit", "ipc"],
  });
  const [line] = (await once(child.stdout!, "data")) as [Buffer];
  return { port: Number(String(line)), child };
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  return typeof address === "object" && address !== null ? address.port : 0;
}

const newTally = (): Tally => ({
  messages: 0,
  bytes: 0,
  changed: 0,
  hung: 0,
  openAtReload: new Set(),
  survived: new Set(),
  byDeath: new Map(),
  otherwise: new Map(),
  kinds: new Map(),
  isDeathNear: false,
});

function reportOf({ messages }: EchoOptions, tally: Tally, started_ms: number): EchoReport {
  const { changed, hung, openAtReload, survived, byDeath, otherwise } = tally;
  const isWhole = tally.messages >= messages && changed === 0 && hung === 0 && otherwise.size === 0;
  const isThrough = openAtReload.size > 0 && survived.size === openAtReload.size && byDeath.size > 0;
  return {
    ok: isWhole && isThrough,
    messages: tally.messages,
    bytes: tally.bytes,
    changed,
    hung,
    open_at_reload: openAtReload.size,
    survived_reload: survived.size,
    ended_by_death: Object.fromEntries(byDeath),
    ended_otherwise: Object.fromEntries(otherwise),
    kinds: Object.fromEntries(tally.kinds),
    seconds: Math.round((performance.now() - started_ms) / 1000),
  };
}
