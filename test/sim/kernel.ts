/**
 * A node's kernel as far as the election goes: the lease page, the peers page, the program's rules for heartbeats and for
 * frames. The rules are those of `scheduler/bpf/`, a few lines each.
 */
import { schedulerIn } from "../../conf/epoch.ts";
import { NOBODY } from "../../conf/limits.ts";
import type { PeerRow } from "../../failover/elector.ts";
import { newSentTimes } from "../../net/heartbeat-memory.ts";
import {
  HEARTBEAT_HEARS,
  HEARTBEAT_LEASED,
  HEARTBEAT_OFFER,
  HEARTBEAT_SCHEDULING,
  HEARTBEAT_SIDE_SHIFT,
  HEARTBEAT_STANDS,
  hearsFor_ns,
} from "../../net/heartbeat.ts";
import {
  clear,
  nextOf,
  ownerOf,
  previousOf,
  readWord,
  swapWord,
  WORDS_PER_BUCKET,
  wordOf,
} from "../../scheduler/table.ts";

export const BUCKETS = 64;
export const UP = 1;
export const REACHABLE = 2;
export const SCATTERED = 4;
/** With the heartbeats of failover-process.ts. */
const HEARS_NS = hearsFor_ns(10);

export type Row = { -readonly [Key in keyof PeerRow]: PeerRow[Key] } & { heard_ns: number };

export interface Kernel {
  readonly number: number;
  readonly page: {
    until_ns: number;
    epoch: number;
    former: number;
    offered: number;
    stands: boolean;
    side: number;
  };
  readonly control: {
    table_version: number;
    hasTable: boolean;
    turned_ns: number;
    handOverTo: number | undefined;
    isMerging: boolean;
    isInDoubt: boolean;
  };
  /** By number, then slot. */
  readonly rows: ReadonlyMap<number, readonly Row[]>;
  /** UP, REACHABLE and SCATTERED, by number. */
  readonly flags: Uint8Array;
  readonly table: Int32Array;
  /** Buckets that the program has given away since user space looked. */
  readonly moved: number[];
}

export function createKernel(number: number, others: readonly number[], slots: number): Kernel {
  const table = new Int32Array(BUCKETS * WORDS_PER_BUCKET);
  clear(table);
  const rows = new Map(others.map((other) => [other, Array.from({ length: slots }, newRow)]));
  const flags = new Uint8Array(256);
  flags[number] = UP | REACHABLE;
  return {
    number,
    page: { until_ns: 0, epoch: 0, former: 0, offered: 0, stands: false, side: 0 },
    control: {
      table_version: 0,
      hasTable: false,
      turned_ns: 0,
      handOverTo: undefined,
      isMerging: false,
      isInDoubt: false,
    },
    rows,
    flags,
    table,
    moved: [],
  };
}

const newRow = (): Row => ({
  sent: newSentTimes(),
  knowsMac: false,
  answered_ns: 0,
  heard_ns: 0,
  epoch: 0,
  flags: 0,
  table_version: 0,
});

export interface Question {
  readonly asker: number;
  readonly epoch: number;
  readonly flags: number;
  readonly sent_ns: number;
}
export interface Answer {
  readonly epoch: number;
  readonly flags: number;
  readonly table_version: number;
  readonly sent_ns: number;
}

/** Lists the program's rules that a broken array may have others of. */
export interface KernelRules {
  takeNews(kernel: Kernel, question: Question): void;
  isAnswering(kernel: Kernel, now_ns: number): boolean;
}

export const isScheduling = ({ page, number }: Kernel): boolean => schedulerIn(page.epoch) === number;

export const kernelRules: KernelRules = {
  takeNews: ({ page }, { asker, epoch, flags }) => {
    if (asker !== schedulerIn(epoch)) return;
    if ((flags & HEARTBEAT_LEASED) !== 0 && epoch > page.epoch) {
      page.former = page.epoch;
      page.epoch = epoch;
    }
    if ((flags & HEARTBEAT_OFFER) !== 0 && epoch === page.epoch) page.offered = epoch;
  },
  isAnswering: (kernel, now_ns) => isScheduling(kernel) && now_ns < kernel.page.until_ns,
};

/** The answer to a question on a slot, at this node's time. */
export function answer(
  rules: KernelRules,
  kernel: Kernel,
  question: Question,
  { slot, now_ns }: { slot: number; now_ns: number },
): Answer {
  rules.takeNews(kernel, question);
  const { page, control } = kernel;
  let flags = (page.stands ? HEARTBEAT_STANDS : 0) | (page.side << HEARTBEAT_SIDE_SHIFT);
  if (isScheduling(kernel)) {
    flags |= HEARTBEAT_SCHEDULING | HEARTBEAT_HEARS;
    if (now_ns < page.until_ns) flags |= HEARTBEAT_LEASED;
  } else if (hearsScheduler(kernel, slot, now_ns)) flags |= HEARTBEAT_HEARS;
  return { epoch: page.epoch, flags, table_version: control.table_version, sent_ns: question.sent_ns };
}

function hearsScheduler({ page, rows }: Kernel, slot: number, now_ns: number): boolean {
  const row = rows.get(schedulerIn(page.epoch) ?? NOBODY)?.[slot];
  return row !== undefined && now_ns < row.heard_ns + HEARS_NS;
}

/** Notes an answer, once. */
export function hear(row: Row, { epoch, flags, table_version, sent_ns }: Answer, now_ns: number): void {
  if (sent_ns <= row.answered_ns) return;
  Object.assign(row, { answered_ns: sent_ns, heard_ns: now_ns, epoch, flags, table_version });
}

/** A frame of a bucket. */
export interface Frame {
  readonly bucket: number;
  /** Whether it begins a connection. */
  readonly isSyn: boolean;
  /** Whether the node that asks has its connection. */
  readonly hasConnection: (number: number) => boolean;
}
/** Where a frame goes from a node: a number; itself: up its own stack. Undefined: it is dropped. */
export type Way = number | undefined;
/** straight: as a client sent it. asked: it comes back if its connection is not there. back: it was not. */
export type Manner = "straight" | "asked" | "back";
export interface Hop {
  readonly to: Way;
  readonly manner: Manner;
}
/** How a frame has come to a node: from another one, or a client's. */
export interface Came {
  readonly from: number | undefined;
  readonly manner: Manner;
}

/** What the program does with a frame. */
export function wayOf(kernel: Kernel, frame: Frame, { from, manner }: Came): Hop {
  const { number, control } = kernel;
  const isMissing = !frame.isSyn && !frame.hasConnection(number);
  if (manner === "asked") return { to: isMissing ? from : number, manner: isMissing ? "back" : "straight" };
  const first = otherHolder(kernel, frame);
  if (manner === "straight") {
    const to = straightWay(kernel, frame, from);
    // What is handed on comes back while there may be connections anywhere.
    const isAsked = isMissing && to === first && isSearching(kernel);
    if (to !== number) return { to, manner: isAsked ? "asked" : "straight" };
    if (!isMissing) return { to, manner };
  }
  const isFirst = manner === "straight" || from === first;
  const next = isMissing ? nextScattered(kernel, isFirst ? 0 : from! + 1, first) : undefined;
  if (next !== undefined) return { to: next, manner: "asked" };
  return { to: isMissing && control.isInDoubt ? undefined : number, manner: "straight" };
}

/** Whether some node may have connections of buckets that do not name it. */
const isSearching = (kernel: Kernel): boolean =>
  kernel.control.isInDoubt || nextScattered(kernel, 0, NOBODY) !== undefined;

function otherHolder({ table, number }: Kernel, { bucket }: Frame): number {
  const word = readWord(table, bucket);
  return previousOf(word) === number ? ownerOf(word) : previousOf(word);
}

/** The scattered node with the lowest number from this one on, but for one. */
function nextScattered({ flags, number }: Kernel, least: number, except: number): number | undefined {
  const wanted = SCATTERED | REACHABLE;
  const found = flags.findIndex(
    (value, other) => other >= least && other !== number && other !== except && (value & wanted) === wanted,
  );
  return found === -1 ? undefined : found;
}

function straightWay(kernel: Kernel, frame: Frame, from: number | undefined): Way {
  const { page, control, number } = kernel;
  if (from === undefined) {
    return isScheduling(kernel) || control.hasTable ? schedule(kernel, frame) : undefined;
  }
  const isFromFormer = from === schedulerIn(page.former);
  const isGiven = isFromFormer || (!isScheduling(kernel) && from === schedulerIn(page.epoch));
  // What another member hands on ends here, unless others may have its connection.
  if (!isGiven && !isSearching(kernel)) return number;
  const way = receive(kernel, frame);
  const hasLooked = isScheduling(kernel) || !isGiven;
  return hasLooked && way === from ? number : way;
}

function schedule(kernel: Kernel, frame: Frame): Way {
  const { table, flags, number } = kernel;
  const word = readWord(table, frame.bucket);
  const isUp = (of: number): boolean => of !== NOBODY && (flags[of]! & UP) !== 0;
  let target = ownerOf(word);
  if (!isUp(target)) {
    const next = nextOf(word);
    if (!isUp(next)) return undefined;
    const former = previousOf(word) === NOBODY ? target : previousOf(word);
    swapWord(table, frame.bucket, word, wordOf(next, next, former === next ? NOBODY : former));
    kernel.moved.push(frame.bucket);
    target = next;
  }
  const previous = previousOf(readWord(table, frame.bucket));
  if (target === number) return secondChance(kernel, frame, previous);
  const mayBeHere = !frame.isSyn && (!isScheduling(kernel) || previous === number);
  return mayBeHere && frame.hasConnection(number) ? number : target;
}

function receive(kernel: Kernel, frame: Frame): Way {
  const word = readWord(kernel.table, frame.bucket);
  const previous = previousOf(word);
  return secondChance(kernel, frame, previous === kernel.number ? ownerOf(word) : previous);
}

function secondChance({ flags, number }: Kernel, frame: Frame, other: number): Way {
  if (other === NOBODY || other === number || frame.isSyn || (flags[other]! & REACHABLE) === 0) return number;
  return frame.hasConnection(number) ? number : other;
}
