/**
 * The receiver's edge: keeps a connection to the node that schedules, and answers once per turn of the event loop.
 * It never keeps the process from ending.
 */
import type { ArrayKey } from "../../conf/keys.ts";
import {
  FEED_CONNECT_MS,
  FEED_LINE_BYTES,
  FEED_PATIENCE_TICKS,
  FEED_RETRY_MAX_MS,
  FEED_RETRY_MIN_MS,
  FEED_TICK_MS,
  FOLLOWER_LINE_BYTES,
} from "../../conf/limits.ts";
import { describeError, DlbaError } from "../../conf/errors.ts";
import { controlStream, type ControlStream } from "../../net/control-tls.ts";
import type { Logger } from "../../status/log.ts";
import {
  bitmapOf,
  decodeFeedMessage,
  encodeFollowerMessage,
  type FollowerMessage,
  type Held,
} from "./feed-message.ts";
import {
  hello,
  isFollowing,
  knowsTable,
  poolsOnOneSide,
  take,
  unlink,
  type Follow,
  type Taken,
} from "./follow.ts";

export interface FollowerOptions {
  /** The scheduler's address, and config.scheduler.port. */
  readonly address: string;
  readonly port: number;
  readonly arrayKey: ArrayKey;
  /** Outlives this: the next follower, of another scheduler, goes on with it. */
  readonly follow: Follow;
  /** From now to the first try to connect. */
  readonly after_ms?: number;
  /** Buckets that this node has connections of: a bit for each. */
  readonly listConnected?: () => Promise<Uint8Array>;
  /** After every message that was taken, before it is acknowledged. */
  readonly onTaken?: (taken: Taken) => void;
  readonly log: Logger;
}
export interface Follower {
  /**
   * Tells the scheduler which buckets of a group this node, as their previous one, still has connections of (a
   * bit for each bucket), how many connections it has, and the version of the table when it looked. False when that can't be told now.
   */
  tellHeld(group: string, version: number, bits: Uint8Array, connections: number): boolean;
  /** Ends the connection. The table stays as it is. */
  stop(): void;
}

interface Following {
  readonly options: FollowerOptions;
  stream: ControlStream | undefined;
  retry: NodeJS.Timeout | undefined;
  pause_ms: number;
  silentTicks: number;
  reply: NodeJS.Immediate | undefined;
  /** What was last logged against the sender. */
  complaint: string;
  isStopped: boolean;
}

/** Follows a scheduler until stopped. */
export function startFollower(options: FollowerOptions): Follower {
  const following: Following = {
    options,
    stream: undefined,
    retry: undefined,
    pause_ms: FEED_RETRY_MIN_MS,
    silentTicks: 0,
    reply: undefined,
    complaint: "",
    isStopped: false,
  };
  const ticker = setInterval(() => tick(following), FEED_TICK_MS).unref();
  if (options.after_ms === undefined) connect(following);
  else following.retry = setTimeout(() => connect(following), options.after_ms).unref();
  return {
    tellHeld: (group, version, bits, connections) =>
      tellHeld(following, { group, version, bits, connections }),
    stop: () => {
      following.isStopped = true;
      clearInterval(ticker);
      clearTimeout(following.retry);
      clearImmediate(following.reply);
      following.stream?.destroy();
      unlink(options.follow);
    },
  };
}

function connect(following: Following): void {
  const { address, port, arrayKey, follow } = following.options;
  following.silentTicks = 0;
  const stream = controlStream(
    { address, port, arrayKey, line_bytes: FEED_LINE_BYTES, connect_timeout_ms: FEED_CONNECT_MS },
    {
      onLine: (line) => hear(following, stream, line),
      onClose: (reason) => part(following, reason),
    },
  );
  following.stream = stream;
  stream.send(encodeFollowerMessage(hello(follow)));
}

function part(following: Following, reason: DlbaError | undefined): void {
  const { options } = following;
  if (following.isStopped) return;
  if (reason !== undefined) complain(following, reason);
  else options.log.debug("the scheduler has ended the connection");
  unlink(options.follow);
  following.stream = undefined;
  following.retry = setTimeout(() => connect(following), following.pause_ms).unref();
  following.pause_ms = Math.min(following.pause_ms * 2, FEED_RETRY_MAX_MS);
}

/** Logs why the table can't be followed, once until it is something else: there are two tries a second. */
function complain(following: Following, error: DlbaError): void {
  const { address, log } = following.options;
  const reason = describeError(error);
  const isNews = following.complaint !== reason;
  following.complaint = reason;
  log[isNews ? "warn" : "debug"]({ scheduler: address, reason }, "the scheduler's table can't be followed");
}

function hear(following: Following, stream: ControlStream, line: string): void {
  const { follow, onTaken } = following.options;
  following.silentTicks = 0;
  try {
    const taken = take(follow, decodeFeedMessage(line));
    if (taken.isOpening === true) noteOpening(following);
    onTaken?.(taken);
    if (taken.tellsConnected === true) void tellConnected(following, stream);
    if (taken.reply === "again") send(stream, { kind: "again", reason: "a gap between two versions" });
    else if (taken.reply !== undefined) following.reply ??= setImmediate(() => reply(following, stream));
  } catch (error) {
    if (!(error instanceof DlbaError)) throw error;
    refuse(following, stream, error);
  }
}

/** The sender gets to know why, unless it was the one who refused. */
function refuse(following: Following, stream: ControlStream, error: DlbaError): void {
  complain(following, error);
  if (error.code === "FEED_REFUSED") stream.destroy();
  else stream.end(encodeFollowerMessage({ kind: "refused", reason: error.message }));
}

function noteOpening(following: Following): void {
  const { log, follow, address } = following.options;
  const { epoch, version } = follow.position;
  following.complaint = "";
  log.info({ scheduler: address, epoch, version }, "follows the scheduler's table");
  const pools = poolsOnOneSide(follow);
  if (pools.length > 0)
    log.warn({ pools }, "pools that only this node or only the scheduler has are not followed");
}

/** One answer for all that came in a turn. */
function reply(following: Following, stream: ControlStream): void {
  const { follow } = following.options;
  following.reply = undefined;
  const { version } = follow.position;
  const isInUse = isFollowing(follow);
  send(stream, knowsTable(follow) ? { kind: "acknowledged", version, isInUse } : { kind: "tick" });
}

/** A sender that sends and doesn't read must not make this process grow. */
function send(stream: ControlStream, message: FollowerMessage): void {
  if (stream.queued_bytes() > FOLLOWER_LINE_BYTES) stream.destroy();
  else stream.send(encodeFollowerMessage(message));
}

/** One that can't list them tells of none: nobody shall wait. */
async function tellConnected({ options }: Following, stream: ControlStream): Promise<void> {
  const { listConnected, follow, log } = options;
  let bits = bitmapOf(follow.groups.get("")!.words.length, []);
  try {
    bits = (await listConnected?.()) ?? bits;
  } catch (error) {
    log.warn({ reason: describeError(error) }, "this node's connections could not be listed");
  }
  // A stream that has ended meanwhile sends nothing.
  send(stream, { kind: "connected", bits });
}

function tick(following: Following): void {
  const { stream } = following;
  if (stream === undefined) return;
  // A connection that has lasted is a good one: the next pause is a short one again.
  if (isFollowing(following.options.follow)) following.pause_ms = FEED_RETRY_MIN_MS;
  if (++following.silentTicks <= FEED_PATIENCE_TICKS) return;
  complain(following, new DlbaError("FEED_SILENT", "the scheduler says nothing"));
  stream.destroy();
}

function tellHeld({ options, stream }: Following, held: Omit<Held, "kind">): boolean {
  if (stream === undefined || !isFollowing(options.follow)) return false;
  if (stream.queued_bytes() > 0) return false;
  stream.send(encodeFollowerMessage({ kind: "held", ...held }));
  return true;
}
