/** Both edges of the bucket table's feed on the loopback, and sides of it that a test plays by hand. */
import assert from "node:assert/strict";
import type { TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import pino from "pino";
import { arrayKeyOf } from "../../../conf/keys.ts";
import type { DlbaError } from "../../../conf/errors.ts";
import { controlStream, type ControlStream } from "../../../net/control-tls.ts";
import { encodeFollowerMessage, type Held, type Hello } from "../../../scheduler/feed/feed-message.ts";
import { startFeedServer, type FeedServer } from "../../../scheduler/feed/feed-server.ts";
import { createFeed, setLiving, type Feed, type FeedOptions } from "../../../scheduler/feed/feed.ts";
import { createFollow, type Follow } from "../../../scheduler/feed/follow.ts";
import { startFollower, type Follower, type FollowerOptions } from "../../../scheduler/feed/follower.ts";
import { readWord } from "../../../scheduler/table.ts";
import type { Logger } from "../../../status/log.ts";

export const ADDRESS = "127.0.0.1";
export const arrayKey = arrayKeyOf(Buffer.alloc(32, 9));
export const BLANK = 0xffffff;
export const SIZE = 4096;

/** Waits for what other processes and sockets do; fails after a time that no slow machine needs. */
export async function until(what: string, isSo: () => boolean): Promise<void> {
  const end_ms = performance.now() + 60_000;
  while (!isSo()) {
    assert.ok(performance.now() < end_ms, `${what}, within 60 s`);
    await sleep(5);
  }
}

/** A logger whose lines can be looked at: message and reason. */
export function logger(): { readonly log: Logger; readonly lines: string[] } {
  const lines: string[] = [];
  const write = (text: string): void => {
    const { msg, reason = "" }: { msg: string; reason?: string } = JSON.parse(text);
    lines.push(`${msg}: ${reason}`);
  };
  return { log: pino({ level: "info" }, { write }), lines };
}

export interface Serving {
  readonly feed: Feed<string>;
  readonly server: FeedServer;
  readonly tokens: string[];
  readonly changes: number[];
  readonly held: [number, Held][];
  readonly connected: [number, Uint8Array][];
  readonly lines: string[];
}

export async function serve(
  t: TestContext,
  options: Partial<FeedOptions> & { port?: number; feed?: Feed<string>; size?: number } = {},
): Promise<Serving> {
  const words = new Int32Array(options.size ?? SIZE).fill(BLANK);
  const groups = [{ name: "", words }];
  const feed = options.feed ?? createFeed<string>({ number: 0, epoch: 1, history: "aa", groups, ...options });
  const { log, lines } = logger();
  const heard = {
    tokens: [] as string[],
    changes: [] as number[],
    held: [] as [number, Held][],
    connected: [] as [number, Uint8Array][],
  };
  const server = await startFeedServer<string>({
    address: ADDRESS,
    port: options.port ?? 0,
    arrayKey,
    nodeNumbers: new Set([0, 1, 2, 3]),
    feed,
    onReady: (tokens) => heard.tokens.push(...tokens),
    onChange: (number) => heard.changes.push(number),
    onHeld: (number, held) => heard.held.push([number, held]),
    onConnected: (number, bits) => heard.connected.push([number, bits]),
    log,
  });
  t.after(() => server.close());
  return { feed, server, lines, ...heard };
}

export function live({ feed, server }: Serving, numbers: readonly number[]): void {
  setLiving(feed, new Set(numbers));
  server.changed();
}

export function followOf(number: number, size = SIZE): Follow {
  return createFollow({ number, groups: [{ name: "", table: new Int32Array(size * 2) }] });
}
export const wordsOf = (follow: Follow): number[] => {
  const { table } = follow.groups.get("")!;
  return Array.from({ length: table.length / 2 }, (_, bucket) => readWord(table, bucket));
};
export const planOf = (feed: Feed<string>): number[] => Array.from(feed.groups[0]!.words);

export interface Following {
  readonly follow: Follow;
  readonly follower: Follower;
  readonly lines: string[];
}
export function followAt(
  t: TestContext,
  port: number,
  follow: Follow,
  options: Partial<FollowerOptions> = {},
): Following {
  const { log, lines } = logger();
  const follower = startFollower({ address: ADDRESS, port, arrayKey, follow, log, ...options });
  t.after(() => follower.stop());
  return { follow, follower, lines };
}

/** A follower that says what a test wants. */
export interface Puppet {
  readonly stream: ControlStream;
  readonly lines: string[];
  /** Set once the connection has ended. */
  end?: { readonly reason: DlbaError | undefined };
}
export function puppetAt(t: TestContext, port: number): Puppet {
  const lines: string[] = [];
  const stream = controlStream(
    { address: ADDRESS, port, arrayKey, line_bytes: 65_536, connect_timeout_ms: 10_000 },
    {
      onLine: (line) => void lines.push(line),
      onClose: (reason) => {
        puppet.end = { reason };
      },
    },
  );
  const puppet: Puppet = { stream, lines };
  t.after(() => stream.destroy());
  return puppet;
}
export const helloOf = (number: number, body: Partial<Hello> = {}): string =>
  encodeFollowerMessage({
    kind: "hello",
    number,
    epoch: 0,
    version: 0,
    history: "",
    seen: 0,
    groups: [{ name: "", size: SIZE }],
    ...body,
  });
