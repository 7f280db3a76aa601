/** Where a node answers all that is asked about versions: votes are judged by `voter.ts`, written down, and only then told. */
import { createHash } from "node:crypto";
import { describeError, DlbaError, isOperatingError } from "../../conf/errors.ts";
import { PUSH_FINDING_CHARACTERS, PUSH_FINDINGS } from "../../conf/limits.ts";
import type { Answer, Health, Peer, Request, VersionRecord } from "./messages.ts";
import { vote, type Ballotwork, type Durable, type Voter } from "./voter.ts";

/** What a node keeps on its disk. All but reading throws when the disk can't take it; then nothing has changed. */
export interface VersionStore {
  readonly has: (hash: string) => boolean;
  /** In base64; undefined when it is not kept, or is not what the hash says. */
  readonly read: (hash: string) => string | undefined;
  readonly keep: (hash: string, text: string) => void;
  /** What has been promised, voted for and decided, for good. */
  readonly save: (durable: Durable) => void;
  /** The versions that have been in force here, the newest first. */
  readonly history: () => readonly VersionRecord[];
}

export interface Judgement {
  readonly reasons: readonly string[];
  readonly warnings: readonly string[];
}

export interface Desk {
  voter: Voter;
  readonly node: string;
  readonly productVersion: string;
  readonly store: VersionStore;
  readonly now_ms: () => number;
  /** Whether this node could run a text, which is in base64. */
  readonly check: (text: string, file: string, onRestart: boolean) => Promise<Judgement>;
  readonly running: () => { readonly number: number; readonly hash: string; readonly problem: string };
  readonly peers: () => readonly Peer[];
  readonly health: () => Promise<Health | null>;
  /** There is another version in force. */
  readonly onCommit: (record: VersionRecord) => void;
  /** Others have a newer one. */
  readonly onBehind: () => void;
}

export const hashOf = (text: string): string =>
  createHash("sha256").update(Buffer.from(text, "base64")).digest("hex");

/** Answers one question. What the system can't do becomes an answer, too. */
export async function answerRequest(desk: Desk, request: Request): Promise<Answer> {
  try {
    return await answer(desk, request);
  } catch (error) {
    if (!isOperatingError(error)) throw error;
    return { kind: "failed", reason: shortened(describeError(error)) };
  }
}

async function answer(desk: Desk, request: Request): Promise<Answer> {
  switch (request.ask) {
    case "state":
      return stateOf(desk);
    case "health":
      return { kind: "health", health: await desk.health() };
    case "history":
      return { kind: "history", records: [...desk.store.history()] };
    case "fetch": {
      const text = desk.store.read(request.hash);
      return text === undefined ? { kind: "missing" } : { kind: "text", text };
    }
    case "check":
      return judged(await desk.check(request.text, request.file, request.on_restart));
    case "stage":
      return stage(desk, request);
    case "prepare":
    case "accept":
    case "commit":
    case "release":
      return voted(desk, request);
  }
}

function stateOf({ voter, node, running, peers, productVersion }: Desk): Answer {
  const { number, hash, problem } = running();
  const { current, accepted } = voter.durable;
  return {
    kind: "state",
    node,
    current,
    accepted,
    running: { number, hash },
    problem: shortened(problem),
    peers: [...peers()],
    version: productVersion,
  };
}

async function stage(desk: Desk, request: Extract<Request, { ask: "stage" }>): Promise<Answer> {
  const first = voted(desk, request);
  if (first.kind !== "promised") return first;
  const judgement = request.check
    ? await desk.check(request.text, request.file, request.on_restart)
    : { reasons: [], warnings: [] };
  if (judgement.reasons.length > 0) return judged(judgement);
  // It may have been outbid meanwhile: then the text is not voted for, and goes with the next ones.
  desk.store.keep(hashOf(request.text), request.text);
  return judged(judgement);
}

function voted(desk: Desk, request: Ballotwork): Answer {
  const before = desk.voter;
  const { voter, answer } = vote(before, request, desk.now_ms(), desk.store.has);
  if (voter.durable !== before.durable) desk.store.save(voter.durable);
  desk.voter = voter;
  if (voter.durable.current !== before.durable.current) desk.onCommit(voter.durable.current);
  if (answer.kind === "behind" || (answer.kind === "missing" && request.ask === "commit")) desk.onBehind();
  return answer;
}

/** Takes a version that others have in force. Throws DlbaError TEXT_DIFFERS when the text is not that of the version. */
export function learn(desk: Desk, record: VersionRecord, text: string): void {
  if (hashOf(text) !== record.hash)
    throw new DlbaError("TEXT_DIFFERS", `what was sent as version ${record.number} is another text`);
  desk.store.keep(record.hash, text);
  voted(desk, { ask: "commit", record });
}

const judged = ({ reasons, warnings }: Judgement): Answer =>
  reasons.length > 0
    ? { kind: "bad", reasons: bounded(reasons) }
    : { kind: "good", warnings: bounded(warnings) };

const bounded = (lines: readonly string[]): string[] => lines.slice(0, PUSH_FINDINGS).map(shortened);
const shortened = (line: string): string => line.slice(0, PUSH_FINDING_CHARACTERS);
