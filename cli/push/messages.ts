/**
 * What a pushing command and nodes say to one another about versions of the configuration: one JSON object in a line each way.
 * Both sides hold the array key; what they send is read strictly all the same, so that a bug of one is an error of the other.
 */
import { z } from "zod";
import {
  MAX_NODES,
  MAX_VERSION_NUMBER,
  PUSH_FINDING_CHARACTERS,
  PUSH_FINDINGS,
  PUSH_LINE_BYTES,
} from "../../conf/limits.ts";

const number = z.int().min(0).max(MAX_VERSION_NUMBER);
const hash = z.string().regex(/^[0-9a-f]{64}$/);
const label = z.string().max(255);

/** A version: what is in force next is the one with the next number. Number 0 is the file that a node was started with. */
const versionRecord = z.strictObject({
  number,
  /** SHA-256 of the text: versions are kept and fetched by it. */
  hash,
  /** Of the version before. */
  previous: z.union([hash, z.literal("")]),
  /** Unix time, by the clock of who pushed. */
  at_ms: z.number().min(0),
  by: label,
  comment: label,
});
export type VersionRecord = z.output<typeof versionRecord>;

/** Who proposes, and how often it was outbid: of two the higher round counts, then the higher id. */
const ballot = z.strictObject({
  round: z.int().min(1).max(1_000_000),
  id: z.string().regex(/^[0-9a-f]{16}$/),
});
export type Ballot = z.output<typeof ballot>;

const accepted = z.strictObject({ ballot, record: versionRecord });
/** A version that a node has voted for, and that may be in force by that. */
export type Accepted = z.output<typeof accepted>;

const text = z.base64().max(PUSH_LINE_BYTES);
const findings = z.array(z.string().max(PUSH_FINDING_CHARACTERS)).max(PUSH_FINDINGS);

const requestSchema = z.discriminatedUnion("ask", [
  z.strictObject({ ask: z.literal("state") }),
  z.strictObject({ ask: z.literal("health") }),
  z.strictObject({ ask: z.literal("history") }),
  z.strictObject({ ask: z.literal("fetch"), hash }),
  /** Would this be a version that this node can run? Changes nothing. */
  z.strictObject({ ask: z.literal("check"), text, file: label, on_restart: z.boolean() }),
  z.strictObject({ ask: z.literal("prepare"), slot: number, ballot, by: label }),
  /** Keep the text; with `check` only if this node can run it. */
  z.strictObject({
    ask: z.literal("stage"),
    slot: number,
    ballot,
    text,
    file: label,
    check: z.boolean(),
    on_restart: z.boolean(),
  }),
  z.strictObject({ ask: z.literal("accept"), slot: number, ballot, record: versionRecord }),
  z.strictObject({ ask: z.literal("commit"), record: versionRecord }),
  z.strictObject({ ask: z.literal("release"), ballot }),
]);
export type Request = z.output<typeof requestSchema>;

const peer = z.strictObject({
  number: z.int(),
  name: label,
  address: label,
  port: z.int().min(1).max(65_535),
});
export type Peer = z.output<typeof peer>;

const health = z.strictObject({
  /** Requests so far, and those that ended in a 5xx; counters that may begin anew. */
  requests: z.number(),
  failures: z.number(),
  workers_accepting: z.number(),
  /** Web servers by `pool/id`, and whether they are up. */
  web_servers: z.record(z.string(), z.boolean()),
});
export type Health = z.output<typeof health>;

const answerSchema = z.discriminatedUnion("kind", [
  z.strictObject({
    kind: z.literal("state"),
    node: label,
    current: versionRecord,
    accepted: accepted.nullable(),
    /** What its processes run, which is `current` unless it could not be taken, or is just being taken. */
    running: z.strictObject({ number, hash }),
    /** Why they don't run `current`; empty when they do. */
    problem: z.string().max(PUSH_FINDING_CHARACTERS),
    /** Who the nodes of its array are, by `current`. */
    peers: z.array(peer).max(MAX_NODES),
    /** The node's version of the product. */
    version: label,
  }),
  z.strictObject({ kind: z.literal("health"), health: health.nullable() }),
  z.strictObject({ kind: z.literal("history"), records: z.array(versionRecord) }),
  z.strictObject({ kind: z.literal("text"), text }),
  /** It has no such text, or is asked to vote for one. */
  z.strictObject({ kind: z.literal("missing") }),
  z.strictObject({ kind: z.literal("good"), warnings: findings }),
  z.strictObject({ kind: z.literal("bad"), reasons: findings }),
  z.strictObject({ kind: z.literal("promised"), accepted: accepted.nullable() }),
  z.strictObject({ kind: z.literal("accepted") }),
  z.strictObject({ kind: z.literal("committed") }),
  z.strictObject({ kind: z.literal("released") }),
  /** Another push is under way. */
  z.strictObject({ kind: z.literal("busy"), by: label }),
  /** Another push has a higher ballot. */
  z.strictObject({ kind: z.literal("outbid"), round: z.int() }),
  /** The slot is not the next one here: it is decided, or versions are missing. */
  z.strictObject({ kind: z.literal("ahead"), current: versionRecord }),
  z.strictObject({ kind: z.literal("behind"), current: versionRecord }),
  /** The disk, or something else that is not the version's fault. */
  z.strictObject({ kind: z.literal("failed"), reason: z.string().max(PUSH_FINDING_CHARACTERS) }),
]);
export type Answer = z.output<typeof answerSchema>;
export type StateAnswer = Extract<Answer, { kind: "state" }>;

/** A request out of a line; undefined when it is none. */
export const readRequest = (line: string): Request | undefined => parsed(requestSchema, line);
/** An answer out of a line; undefined when it is none. */
export const readAnswer = (line: string): Answer | undefined => parsed(answerSchema, line);
export const readPeers = (value: unknown): Peer[] | undefined =>
  z.array(peer).max(MAX_NODES).safeParse(value).data;
/** As a node keeps it. */
export const readAccepted = (value: unknown): Accepted | undefined => accepted.safeParse(value).data;
export const readVersion = (value: unknown): VersionRecord | undefined => versionRecord.safeParse(value).data;
export const readBallot = (value: unknown): Ballot | undefined => ballot.safeParse(value).data;

function parsed<T>(schema: z.ZodType<T>, line: string): T | undefined {
  try {
    return schema.safeParse(JSON.parse(line)).data;
  } catch {
    return undefined;
  }
}

/** Below zero when `a` counts less than `b`. */
export function compareBallots(a: Ballot, b: Ballot): number {
  if (a.round !== b.round) return a.round - b.round;
  return a.id < b.id ? -1 : a.id > b.id ? 1 : 0;
}
