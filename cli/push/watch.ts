/** After a push: is the array worse off than before? Then the version of before is pushed again. */
import { DlbaError } from "../../conf/errors.ts";
import { PUSH_ASK_MS } from "../../conf/limits.ts";
import { hashOf } from "./desk.ts";
import { worsened, type Looked } from "./health.ts";
import type { VersionRecord } from "./messages.ts";
import { propose, saidLine, untilRunning, type Laggards, type NodeSaid } from "./proposer.ts";
import type { Target } from "./target.ts";

const LOOK_MS = 1000;
/** How long is looked at first how it goes without the new version, at most. */
const BASELINE_S = 3;

export interface Watched {
  readonly seconds: number;
  readonly reasons: readonly string[];
  /** The version that put the one of before in force again; null when there was no need. */
  readonly reverted_by: number | null;
}

/** Two looks at all nodes with some time between them. */
export async function lookAtHealth(target: Target, watch_s: number): Promise<readonly [Looked, Looked]> {
  const first = await look(target);
  await target.world.pause(Math.min(BASELINE_S, watch_s / 3) * 1000);
  return [first, await look(target)];
}

async function look({ world, peers }: Target): Promise<Looked> {
  const answers = await Promise.all(
    peers.map(async (peer) => {
      const answer = await world.ask(peer, { ask: "health" }, PUSH_ASK_MS).catch((error: unknown) => {
        if (error instanceof DlbaError) return undefined;
        throw error;
      });
      return [peer.name, answer?.kind === "health" ? answer.health : null] as const;
    }),
  );
  return new Map(answers);
}

export interface WatchOptions {
  readonly record: VersionRecord;
  readonly earlier: readonly [Looked, Looked];
  readonly watch_s: number;
  /** Nodes that have not taken it: that is worse, too. */
  readonly laggards: Laggards;
  /** The text and the version of before. */
  readonly before: string;
  readonly base: VersionRecord;
  readonly say: (line: string) => void;
}

/** Watches for the whole window; two looks in a row have to find it worse. */
export async function watchHealth(target: Target, options: WatchOptions): Promise<Watched> {
  const { record, earlier, watch_s, say } = options;
  say(`watching for ${watch_s} s; this command has to go on for that long`);
  const until_ms = target.world.now_ms() + watch_s * 1000;
  const { failing, silent } = options.laggards;
  let last: readonly string[] = [...failing, ...silent].filter(isNews(options)).map(saidLine);
  let isWorse = last.length > 0;
  while (!isWorse && target.world.now_ms() < until_ms) {
    await target.world.pause(LOOK_MS);
    const reasons = worsened(...earlier, await look(target));
    isWorse = reasons.length > 0 && last.length > 0;
    last = reasons;
  }
  if (!isWorse) {
    say("it goes as well as before");
    return { seconds: watch_s, reasons: [], reverted_by: null };
  }
  for (const reason of last) say(`worse: ${reason}`);
  return { seconds: watch_s, reasons: last, reverted_by: await revert(target, record, options, last) };
}

/** A node that was silent before the push, too, says nothing about it. */
const isNews =
  ({ earlier }: WatchOptions) =>
  ({ node }: NodeSaid): boolean =>
    (earlier[1].get(node) ?? null) !== null;

async function revert(
  { world, peers }: Target,
  { number, hash, by }: VersionRecord,
  { before, base, say }: WatchOptions,
  reasons: readonly string[],
): Promise<number> {
  const text = Buffer.from(before).toString("base64");
  const comment = `automatic revert of version ${number}: ${reasons.join("; ")}`.slice(0, 255);
  const record = { number: number + 1, hash: hashOf(text), previous: hash, at_ms: Date.now(), by, comment };
  await propose(world, peers, { record, text, file: `version ${base.number}`, onRestart: false });
  const { failing, silent } = await untilRunning(world, peers, record);
  for (const each of [...failing, ...silent]) say(saidLine(each));
  return record.number;
}
