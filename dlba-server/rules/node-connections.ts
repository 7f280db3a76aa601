/**
 * How many connections clients have to a node's other workers, in memory of a fixed size that all of them share. Pure but for that
 * memory: times are inputs, of the clock that all processes of a machine have in common.
 *
 * Each worker has a part that it alone writes, so nobody waits and no two write one number. A client's connections are the sum over
 * the parts whose owners are alive, which they say every now and then: what a worker had that was killed is forgotten by
 * itself. In a part, clients are found by a keyed tag of 64 bits, in sets of eight; a client that finds no place counts for its own
 * worker alone.
 */
import { sipTag } from "../../net/siphash.ts";

const WAYS = 8;
const ENTRY_WORDS = 4;
/** A part's head has its owner, 0 for none, and (as a double) when that was last heard of. */
const HEAD_WORDS = 4;

export interface NodeConnections {
  readonly words: Int32Array;
  readonly beats: Float64Array;
  readonly parts: number;
  /** Of a part; a power of two. */
  readonly sets: number;
  readonly key: DataView;
  /** The part that is ours; -1 for none. */
  part: number;
}

/** Bytes for so many parts with so many entries each. */
export const nodeConnections_bytes = (parts: number, entries: number): number =>
  parts * (HEAD_WORDS + entries * ENTRY_WORDS) * 4;

/** `memory` as `nodeConnections_bytes` says; `entries` is a power of two. `key`: 16 bytes. */
export function createNodeConnections(
  memory: ArrayBuffer,
  parts: number,
  entries: number,
  key: Uint8Array,
): NodeConnections {
  return {
    words: new Int32Array(memory),
    beats: new Float64Array(memory),
    parts,
    sets: entries / WAYS,
    key: new DataView(key.buffer, key.byteOffset, key.byteLength),
    part: -1,
  };
}

/** An owner that has said nothing for so long counts for nothing, and after the longer time loses its part. */
const SILENT_MS = 3000;
const GONE_MS = 10_000;

/** How long a part's owner has been silent; a time to come is another run of the machine's. */
function silence_ms({ beats }: NodeConnections, part: number, now_ms: number): number {
  const beat_ms = beats[part * (HEAD_WORDS / 2) + 1]!;
  return beat_ms > now_ms + SILENT_MS ? Infinity : now_ms - beat_ms;
}

/** Takes a part that nobody has. False when there is none: then nobody else sees our clients. */
export function claimPart(table: NodeConnections, owner: number, now_ms: number): boolean {
  const { words, beats, parts, sets } = table;
  for (let part = 0; part < parts; part++) {
    const before = Atomics.load(words, part * HEAD_WORDS);
    if (before !== 0 && silence_ms(table, part, now_ms) <= GONE_MS) continue;
    // First, so that whoever looks next finds it taken.
    beats[part * (HEAD_WORDS / 2) + 1] = now_ms;
    if (Atomics.compareExchange(words, part * HEAD_WORDS, before, owner) !== before) continue;
    const start = firstWord(table, part);
    words.fill(0, start, start + sets * WAYS * ENTRY_WORDS);
    table.part = part;
    return true;
  }
  table.part = -1;
  return false;
}

/** Says that we are alive. False when the part is another's by now: we had been silent for too long. */
export function beat({ words, beats, part }: NodeConnections, owner: number, now_ms: number): boolean {
  if (part === -1 || Atomics.load(words, part * HEAD_WORDS) !== owner) return false;
  beats[part * (HEAD_WORDS / 2) + 1] = now_ms;
  return true;
}

/** Gives the part back. */
export function leavePart(table: NodeConnections, owner: number): void {
  if (table.part !== -1) Atomics.compareExchange(table.words, table.part * HEAD_WORDS, owner, 0);
  table.part = -1;
}

const firstWord = ({ parts, sets }: NodeConnections, part: number): number =>
  parts * HEAD_WORDS + part * sets * WAYS * ENTRY_WORDS;

/** The client that is meant by what follows: its name, of up to 16 characters, and what it is counted for. */
const tag = { low: 0, high: 0 };
const message = new DataView(new ArrayBuffer(32));
const MOST_CHARACTERS = 16;
const TAG_AT = 24;

function meanClient({ key }: NodeConnections, client: string, purpose: number): void {
  const length = Math.min(client.length, MOST_CHARACTERS);
  for (let i = 0; i < length; i++) message.setUint8(i, client.charCodeAt(i));
  message.setUint32(length, purpose);
  sipTag(key, message, length + 4, TAG_AT);
  tag.low = message.getInt32(TAG_AT, true);
  tag.high = message.getInt32(TAG_AT + 4, true);
}

/** Where the meant client stands in a part, or else a free place (-1 for none): the index of its tag. */
function placeIn(table: NodeConnections, part: number, mayBeFree: boolean): number {
  const { words, sets } = table;
  const first = firstWord(table, part) + (tag.low & (sets - 1)) * WAYS * ENTRY_WORDS;
  let free = -1;
  for (let way = 0; way < WAYS; way++) {
    const at = first + way * ENTRY_WORDS;
    const isFree = words[at + 2] === 0;
    if (!isFree && words[at] === tag.low && words[at + 1] === tag.high) return at;
    if (isFree && free === -1) free = at;
  }
  return mayBeFree ? free : -1;
}

/** How many connections a client has to the other workers. */
export function connectionsElsewhere(
  table: NodeConnections,
  client: string,
  purpose: number,
  now_ms: number,
): number {
  const { words, parts, part: own } = table;
  meanClient(table, client, purpose);
  let count = 0;
  for (let part = 0; part < parts; part++) {
    if (part === own || words[part * HEAD_WORDS] === 0) continue;
    if (silence_ms(table, part, now_ms) > SILENT_MS) continue;
    const at = placeIn(table, part, false);
    if (at !== -1) count += words[at + 2]!;
  }
  return count;
}

/** Tells the others how many connections a client has here. */
export function tellConnections(
  table: NodeConnections,
  client: string,
  purpose: number,
  count: number,
): void {
  const { words, part } = table;
  if (part === -1) return;
  meanClient(table, client, purpose);
  const at = placeIn(table, part, count > 0);
  if (at === -1) return;
  words[at] = tag.low;
  words[at + 1] = tag.high;
  words[at + 2] = count;
}
