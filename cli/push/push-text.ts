/** How a command has a text become the next version, whether that is a file or a version of before: shown, asked, proposed, watched. */
import { hostname, userInfo } from "node:os";
import { createInterface } from "node:readline/promises";
import { DlbaError } from "../../conf/errors.ts";
import { PUSH_STAGE_MS } from "../../conf/limits.ts";
import { listOf } from "../../conf/suggest.ts";
import { difference } from "./difference.ts";
import { hashOf } from "./desk.ts";
import type { Request, VersionRecord } from "./messages.ts";
import { latestOf, propose, saidLine, untilRunning, type Laggards, type Outcome } from "./proposer.ts";
import type { Target } from "./target.ts";
import { lookAtHealth, watchHealth, type Watched } from "./watch.ts";

export interface PushOptions {
  readonly yes?: boolean;
  readonly dryRun?: boolean;
  readonly onRestart?: boolean;
  readonly comment?: string;
  /** The version that has to be in force, or nothing is pushed. */
  readonly expect?: number;
  /** In seconds. */
  readonly watch?: number;
  readonly json?: boolean;
}

/** What is pushed. */
export interface Pushed {
  readonly text: string;
  /** What errors in it are told with. */
  readonly file: string;
  readonly comment: string;
}

const NOBODY: Laggards = { failing: [], silent: [] };

/** Pushes; throws DlbaError with what keeps it from being in force on all nodes that were asked. */
export async function pushText(target: Target, pushed: Pushed, options: PushOptions): Promise<void> {
  const say = (line: string): void => void (options.json === true || process.stdout.write(`${line}\n`));
  const base = latestOf(target.states);
  if (base === undefined) throw new DlbaError("ARRAY_NOT_REACHED", "no node answers any more");
  const text = Buffer.from(pushed.text).toString("base64");
  const hash = hashOf(text);
  if (options.expect !== undefined && options.expect !== base.number) {
    const text = `${nameOf(base)} is in force, and not ${options.expect} as expected; nothing was changed`;
    throw new DlbaError("PUSH_OVERTAKEN", text);
  }
  tellNodes(target, base, say);
  if (hash === base.hash && target.states.states.every(({ state }) => state.current.hash === hash)) {
    say(`version ${base.number} holds just this: there is nothing to push`);
    return tell(options, { version: base, changed: false });
  }
  const before = await fetchText(target, base.hash);
  say(
    (
      await difference({ name: nameOf(base), text: before ?? "" }, { name: pushed.file, text: pushed.text })
    ).trimEnd(),
  );
  const mustAsk = options.yes !== true && process.stdin.isTTY && process.stdout.isTTY;
  if (options.dryRun === true || mustAsk) await checkAll(target, { ...pushed, text }, options, say);
  if (options.dryRun === true) return tell(options, { version: base, changed: false, would_change: true });
  if (mustAsk) await confirm(`Push this to ${target.peers.length} nodes as version ${base.number + 1}?`);
  const record: VersionRecord = {
    number: base.number + 1,
    hash,
    previous: base.hash,
    at_ms: Date.now(),
    by: pusher(),
    comment: pushed.comment,
  };
  const earlier = options.watch === undefined ? undefined : await lookAtHealth(target, options.watch);
  const proposal = { record, text, file: pushed.file, onRestart: options.onRestart ?? false };
  const outcome = await propose(target.world, target.peers, proposal, target.states);
  for (const warning of outcome.warnings) say(`warning: ${saidLine(warning)}`);
  say(`version ${record.number} is in force`);
  const laggards =
    options.onRestart === true ? NOBODY : await untilRunning(target.world, target.peers, record);
  const isWatched = earlier !== undefined && before !== undefined && options.watch !== undefined;
  const watched = isWatched
    ? await watchHealth(target, { record, earlier, watch_s: options.watch, laggards, before, base, say })
    : undefined;
  conclude(options, target, outcome, laggards, watched, say);
}

function conclude(
  options: PushOptions,
  { peers }: Target,
  { record, away, warnings }: Outcome,
  { failing, silent }: Laggards,
  watched: Watched | undefined,
  say: (line: string) => void,
): void {
  // Who was away and is back by now has been asked again.
  const gone = options.onRestart === true ? away : silent;
  tell(options, { version: record, changed: true, away: gone, warnings, failing, watched: watched ?? null });
  if (watched?.reverted_by !== undefined && watched.reverted_by !== null) {
    const text = `version ${record.number} was reverted by version ${watched.reverted_by}: ${watched.reasons.join("; ")}`;
    throw new DlbaError("PUSH_REVERTED", text);
  }
  for (const { node, text } of gone) say(`${node} is away and takes it when it is back: ${text}`);
  if (options.onRestart === true) say("it is run by each node from the next start of its 'dlba run' on");
  else if (failing.length === 0) say(`${peers.length - gone.length} of ${peers.length} nodes run it`);
  if (failing.length === 0) return;
  const lines = [
    `version ${record.number} is in force, but does not run everywhere:`,
    ...failing.map(saidLine),
  ];
  throw new DlbaError("PUSH_NOT_TAKEN", lines.join("\n"), {
    hint: `these nodes run the version before and go on trying: mend what is said, or go back with 'dlba revert ${record.number - 1}'`,
  });
}

function tell(options: PushOptions, facts: object): void {
  if (options.json === true) process.stdout.write(`${JSON.stringify(facts)}\n`);
}

/** Who is away, and whose file differs before anything was ever pushed. */
function tellNodes({ states }: Target, base: VersionRecord, say: (line: string) => void): void {
  for (const { node, text } of states.away) say(`${node} does not answer: ${text}`);
  const others = states.states.filter(
    ({ state }) => state.current.number === base.number && state.current.hash !== base.hash,
  );
  const names = others.map(({ peer }) => peer.name);
  if (names.length > 0) say(`${listOf(names, "and")}: run other files than the one that is compared with`);
}

export const nameOf = ({ number, by }: VersionRecord): string =>
  number === 0 ? "the nodes' configuration file" : `version ${number}, pushed by ${by}`;

/** A version's text by its hash, from whoever has it. */
export async function fetchText({ world, states }: Target, hash: string): Promise<string | undefined> {
  for (const { peer } of states.states) {
    const answer = await world.ask(peer, { ask: "fetch", hash }, PUSH_STAGE_MS).catch(() => undefined);
    if (answer?.kind === "text" && hashOf(answer.text) === hash)
      return Buffer.from(answer.text, "base64").toString("utf8");
  }
  return undefined;
}

/** What all nodes that answer say to a text; throws DlbaError PUSH_REFUSED when one can't run it. */
async function checkAll(
  { world, states }: Target,
  { text, file }: Pushed,
  { onRestart = false }: PushOptions,
  say: (line: string) => void,
): Promise<void> {
  const request: Request = { ask: "check", text, file, on_restart: onRestart };
  const answers = await Promise.all(
    states.states.map(async ({ peer }) => ({
      node: peer.name,
      answer: await world.ask(peer, request, PUSH_STAGE_MS),
    })),
  );
  const reasons = answers.flatMap(({ node, answer }) =>
    answer.kind === "bad" ? answer.reasons.map((text) => ({ node, text })) : [],
  );
  for (const { node, answer } of answers)
    if (answer.kind === "good")
      for (const text of answer.warnings) say(`warning: ${saidLine({ node, text })}`);
  if (reasons.length > 0)
    throw new DlbaError("PUSH_REFUSED", ["nothing was changed:", ...reasons.map(saidLine)].join("\n"));
  say(
    `${listOf(
      answers.map(({ node }) => node),
      "and",
    )} can run it`,
  );
}

async function confirm(question: string): Promise<void> {
  const terminal = createInterface({ input: process.stdin, output: process.stdout });
  try {
    const answer = await terminal.question(`${question} [y/N] `);
    if (/^y(?:es)?$/i.test(answer.trim())) return;
  } finally {
    terminal.close();
  }
  throw new DlbaError("PUSH_REFUSED", "nothing was changed, as you said");
}

/** Who pushes, for the history. */
function pusher(): string {
  const user = process.env["SUDO_USER"] ?? userInfo().username;
  return `${user}@${hostname()}`.slice(0, 255);
}
