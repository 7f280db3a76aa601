/**
 * From following to scheduling and back, as far as the tables go. Pure but for the tables' memory: nothing here waits,
 * so packets meet a table that is whole at any moment.
 */
import { NOBODY } from "../conf/limits.ts";
import type { TableArea } from "./arrangement.ts";
import { createFeed, positionOf, record, type Change, type Feed } from "./feed/feed.ts";
import { baseOf, createFollow, type Follow } from "./feed/follow.ts";
import { createPolicy } from "./policy/policy.ts";
import { createSteering, makeMark, type SteeredTable, type Steering, type Told } from "./steering.ts";
import { ownerOf, readWord, sizeOf, WORDS_PER_BUCKET } from "./table.ts";

/** A process that is started again in its epoch tells of versions so much later than any that it may have told of. */
const RESTART_VERSIONS = 2 ** 20;

export interface TakeoverOptions {
  /** This node's number. */
  readonly number: number;
  readonly epoch: number;
  /** A name that no other feed ever has: 16 random bytes in hexadecimal digits. */
  readonly history: string;
  readonly areas: readonly TableArea[];
  /** What was followed up to now. */
  readonly follow: Follow;
  /** The latest version that a process before this one has told of in this epoch, as far as is known; 0: none. */
  readonly toldVersion: number;
  /** 32 bits that the array's nodes share and nobody else knows. */
  readonly seed: number;
  readonly settings: Pick<Steering, "timeout_units" | "fill_s">;
}

/**
 * Begins to steer the tables as they are. Nodes that have followed the same scheduler as far as this one need no copy:
 * they are told what this node's program has done by itself since.
 */
export function takeOver(options: TakeoverOptions): Steering {
  const { areas, seed, settings } = options;
  const tables = areas.map(({ name, base, table }) => ({
    name,
    base,
    policy: createPolicy(table, { hasSecondChance: name === "", seed }),
  }));
  const steering = createSteering(tables, feedFor(options, tables), settings);
  makeMark(steering);
  return steering;
}

type Tables = readonly Pick<SteeredTable, "name" | "policy">[];

function feedFor(
  { number, epoch, history, follow, toldVersion }: TakeoverOptions,
  tables: Tables,
): Feed<Told> {
  const base = baseOf(follow);
  const version = toldVersion === 0 ? 0 : toldVersion + RESTART_VERSIONS;
  const groups = tables.map(({ name, policy }) => {
    const followed = base === undefined ? undefined : follow.groups.get(name);
    return followed ?? { name, words: policy.plan.words };
  });
  const feed = createFeed<Told>({ number, epoch, history, groups, base, version });
  for (const { name, policy } of tables) record(feed, name, differences(feed, name, policy.plan.words));
  return feed;
}

function differences({ groups }: Feed<Told>, name: string, words: Int32Array): Change[] {
  const told = groups.find((group) => group.name === name)!.words;
  const changes: Change[] = [];
  for (let bucket = 0; bucket < words.length; bucket++) {
    if (told[bucket] !== words[bucket]) changes.push({ bucket, word: words[bucket]! });
  }
  return changes;
}

/**
 * No bucket that somebody owns counts as idle before it had no packet for the whole time: this node's program has not
 * seen those that the scheduler before has. `now_units` as in table.ts.
 */
export function renewAccesses(areas: readonly TableArea[], now_units: number): void {
  for (const { table } of areas) {
    for (let bucket = 0; bucket < sizeOf(table); bucket++) {
      if (ownerOf(readWord(table, bucket)) !== NOBODY)
        Atomics.store(table, bucket * WORDS_PER_BUCKET + 1, now_units);
    }
  }
}

/**
 * Another node schedules: from here on the tables are followed. What all others were told is kept, so that a scheduler that
 * has gone on from there need not send a copy. The array's own table stays in use until it is known whether the other one has:
 * if it was scheduling at the same time, it has to be told of the connections that are by this table.
 */
export function giveUp(steering: Steering): Follow {
  const { feed, tables } = steering;
  const groups = tables.map(({ name, policy }) => {
    const { words, flags } = feed.groups.find((group) => group.name === name)!;
    const { table } = policy.plan;
    if (name !== "") writeWords(table, words);
    return { name, table, words, flags };
  });
  return createFollow({ number: feed.number, groups, position: positionOf(feed), hasScheduled: true });
}

function writeWords(table: Int32Array, words: Int32Array): void {
  for (let bucket = 0; bucket < words.length; bucket++) {
    const word = words[bucket]!;
    if (readWord(table, bucket) !== word) Atomics.store(table, bucket * WORDS_PER_BUCKET, word);
  }
}
