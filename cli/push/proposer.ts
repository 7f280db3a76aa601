/**
 * Whoever wants a version to be the next one: a pushing command, or a node that sees to the end of what another has left. It
 * locks and asks all nodes (prepare), has them keep and judge the text (stage), and has a majority vote (accept); from then on the version is
 * in force, whatever happens, and nodes are told (commit). It keeps nothing: all that has to last is on the nodes' disks. Pure
 * but for what `PushWorld` does, so that whole arrays run it on a virtual clock and network.
 */
import { describeError, DlbaError } from "../../conf/errors.ts";
import {
  PUSH_ACCEPT_TRIES,
  PUSH_APPLY_MS,
  PUSH_ASK_MS,
  PUSH_CATCH_UP_MS,
  PUSH_STAGE_MS,
} from "../../conf/limits.ts";
import { listOf } from "../../conf/suggest.ts";
import {
  compareBallots,
  type Accepted,
  type Answer,
  type Ballot,
  type Peer,
  type Request,
  type StateAnswer,
  type VersionRecord,
} from "./messages.ts";

export interface PushWorld {
  /** Rejects with a DlbaError when there is no answer. */
  readonly ask: (peer: Peer, request: Request, timeout_ms: number) => Promise<Answer>;
  readonly pause: (pause_ms: number) => Promise<void>;
  /** For waiting only. */
  readonly now_ms: () => number;
  /** 16 hexadecimal digits that nobody else draws. */
  readonly newId: () => string;
}

/** What is to be in force next. */
export interface Proposal {
  readonly record: VersionRecord;
  /** In base64. */
  readonly text: string;
  /** What errors in it are told with. */
  readonly file: string;
  /** Whether it may need a restart of the nodes' `dlba run`. */
  readonly onRestart: boolean;
}

export interface NodeSaid {
  readonly node: string;
  readonly text: string;
}
export interface Outcome {
  readonly record: VersionRecord;
  /** Nodes that could not be asked: they take it when they are back. */
  readonly away: readonly NodeSaid[];
  readonly warnings: readonly NodeSaid[];
}

const PAUSE_MS = 250;
const MAX_ROUNDS = 20;
const OUTCOME_LOOKS = 40;

export const majorityOf = (peers: readonly Peer[]): number => Math.floor(peers.length / 2) + 1;

type Heard = { readonly peer: Peer; readonly answer?: Answer; readonly failure: string };

/** One question to several nodes at once. */
async function askAll(
  world: PushWorld,
  peers: readonly Peer[],
  request: Request,
  timeout_ms: number,
): Promise<Heard[]> {
  return Promise.all(peers.map(async (peer) => askOne(world, peer, request, timeout_ms)));
}

async function askOne(world: PushWorld, peer: Peer, request: Request, timeout_ms: number): Promise<Heard> {
  try {
    return { peer, answer: await world.ask(peer, request, timeout_ms), failure: "" };
  } catch (error) {
    if (!(error instanceof DlbaError)) throw error;
    return { peer, failure: describeError(error) };
  }
}

export interface States {
  readonly states: readonly { readonly peer: Peer; readonly state: StateAnswer }[];
  readonly away: readonly NodeSaid[];
}

/** How all nodes stand. */
export async function askStates(world: PushWorld, peers: readonly Peer[]): Promise<States> {
  const heard = await askAll(world, peers, { ask: "state" }, PUSH_ASK_MS);
  return {
    states: heard.flatMap(({ peer, answer }) => (answer?.kind === "state" ? [{ peer, state: answer }] : [])),
    away: heard.flatMap(({ peer, answer, failure }) =>
      answer?.kind === "state" ? [] : [{ node: peer.name, text: failure || `it answers ${answer?.kind}` }],
    ),
  };
}

/** The highest version that any of them has. */
export function latestOf({ states }: States): VersionRecord | undefined {
  return states.map(({ state }) => state.current).toSorted((a, b) => b.number - a.number)[0];
}

/**
 * Has a version become the next one. Who is not among the `known` is not asked for it. Rejects with DlbaError: PUSH_NO_MAJORITY, PUSH_BUSY, PUSH_OVERTAKEN and PUSH_REFUSED mean that
 * it never will be in force; PUSH_IN_DOUBT that the nodes will decide.
 */
export async function propose(
  world: PushWorld,
  peers: readonly Peer[],
  proposal: Proposal,
  known?: States,
): Promise<Outcome> {
  const outcome = await decide(world, peers, proposal.record.number, proposal.record.by, proposal, known);
  if (outcome !== undefined && isSame(outcome.record, proposal.record)) return outcome;
  throw overtaken(proposal.record.number, outcome?.record);
}

/** Sees to the end of a vote that somebody has left: resolves with the version that is in force by it, if there was one. */
export async function settle(
  world: PushWorld,
  peers: readonly Peer[],
  slot: number,
  by: string,
): Promise<VersionRecord | undefined> {
  return (await decide(world, peers, slot, by, undefined))?.record;
}

/** Two pushes of one text are two all the same. */
const isSame = (a: VersionRecord, b: VersionRecord): boolean =>
  a.number === b.number &&
  a.hash === b.hash &&
  a.at_ms === b.at_ms &&
  a.by === b.by &&
  a.comment === b.comment;

function overtaken(slot: number, other: VersionRecord | undefined): DlbaError {
  const who = other === undefined ? "" : `: version ${slot} is that of ${other.by || "somebody else"}`;
  return new DlbaError("PUSH_OVERTAKEN", `another push came first${who}; nothing of this one is in force`, {
    hint: "look at the difference and push again",
  });
}

async function decide(
  world: PushWorld,
  peers: readonly Peer[],
  slot: number,
  by: string,
  proposal: Proposal | undefined,
  known?: States,
): Promise<Outcome | undefined> {
  const id = world.newId();
  let round = 1;
  for (let tries = 0; tries < MAX_ROUNDS; tries++) {
    const promised = await prepareAll(world, peers, { slot, ballot: { round, id }, by }, known);
    if ("outbidBy" in promised) round = promised.outbidBy + 1;
    else return carryThrough(world, peers, promised, proposal);
  }
  throw new DlbaError("PUSH_BUSY", "other pushes outbid this one again and again; nothing was changed");
}

interface Promised {
  readonly slot: number;
  readonly ballot: Ballot;
  readonly nodes: readonly Peer[];
  readonly away: readonly NodeSaid[];
  /** What has to be the next version, as it may be in force already. */
  readonly pending: { readonly accepted: Accepted; readonly holder: Peer } | undefined;
}

/**
 * Node after node, always in the same order: of two who come at the same time one has the first node, and the other is told
 * there, before it has locked anything.
 */
async function prepareAll(
  world: PushWorld,
  peers: readonly Peer[],
  bid: { readonly slot: number; readonly ballot: Ballot; readonly by: string },
  known?: States,
): Promise<Promised | { readonly outbidBy: number }> {
  const { slot, ballot } = bid;
  const living = known ?? (await askStates(world, peers));
  const away: NodeSaid[] = [...living.away];
  const nodes: Peer[] = [];
  let pending: Promised["pending"];
  const giveBack = async (): Promise<void> => release(world, nodes, ballot);
  for (const peer of living.states.map((each) => each.peer).toSorted((a, b) => a.number - b.number)) {
    const { answer, failure } = await untilAbreast(world, peer, { ask: "prepare", ...bid });
    if (answer?.kind === "promised") {
      nodes.push(peer);
      const { accepted } = answer;
      if (
        accepted !== null &&
        (pending === undefined || compareBallots(accepted.ballot, pending.accepted.ballot) > 0)
      )
        pending = { accepted, holder: peer };
    } else if (answer?.kind === "busy") {
      await giveBack();
      throw new DlbaError(
        "PUSH_BUSY",
        `${peer.name} is busy with a push by ${answer.by}; nothing was changed`,
        {
          hint: "wait until that one has ended, look at the difference and push again",
        },
      );
    } else if (answer?.kind === "outbid") {
      await giveBack();
      return { outbidBy: answer.round };
    } else if (answer?.kind === "ahead") {
      await giveBack();
      throw overtaken(slot, answer.current.number === slot ? answer.current : undefined);
    } else {
      away.push({ node: peer.name, text: failure || refusalText(answer) });
    }
  }
  if (nodes.length >= majorityOf(peers)) return { slot, ballot, nodes, away, pending };
  await giveBack();
  throw noMajority(peers, nodes.length, away);
}

/** A node that lags behind gets the time to catch up, which it does by itself. */
async function untilAbreast(world: PushWorld, peer: Peer, request: Request): Promise<Heard> {
  const until_ms = world.now_ms() + PUSH_CATCH_UP_MS;
  for (;;) {
    const heard = await askOne(world, peer, request, PUSH_ASK_MS);
    if (heard.answer?.kind !== "behind" || world.now_ms() > until_ms) return heard;
    await world.pause(PAUSE_MS);
  }
}

function refusalText(answer: Answer | undefined): string {
  if (answer?.kind === "behind") return `it has version ${answer.current.number} and does not catch up`;
  if (answer?.kind === "failed") return answer.reason;
  return `it answers ${answer?.kind ?? "nothing"}`;
}

function noMajority(peers: readonly Peer[], count: number, away: readonly NodeSaid[]): DlbaError {
  const reasons = away.map(({ node, text }) => `${node} (${text})`);
  const text = `${count} of ${peers.length} nodes can be asked, and ${majorityOf(peers)} are needed; nothing was changed`;
  return new DlbaError(
    "PUSH_NO_MAJORITY",
    reasons.length === 0 ? text : `${text}: without ${listOf(reasons, "and")}`,
    {
      hint: "a minority can't know what the others do; bring back or repair nodes, then push again",
    },
  );
}

async function release(world: PushWorld, nodes: readonly Peer[], ballot: Ballot): Promise<void> {
  await askAll(world, nodes, { ask: "release", ballot }, PUSH_ASK_MS);
}

async function carryThrough(
  world: PushWorld,
  peers: readonly Peer[],
  promised: Promised,
  proposal: Proposal | undefined,
): Promise<Outcome | undefined> {
  const chosen = await choose(world, promised, proposal);
  if (chosen === undefined) {
    await release(world, promised.nodes, promised.ballot);
    return undefined;
  }
  const staged = await stageAll(world, peers, promised, chosen);
  const { record } = chosen.proposal;
  const isDecided = await acceptAll(world, peers, promised, staged.nodes, record);
  if (!isDecided) {
    // The nodes needn't wait for this one any longer.
    await release(world, promised.nodes, promised.ballot);
    return { record: await findOut(world, peers, record), away: staged.away, warnings: staged.warnings };
  }
  await askAll(world, peers, { ask: "commit", record }, PUSH_ASK_MS);
  return { record, away: staged.away, warnings: staged.warnings };
}

interface Chosen {
  readonly proposal: Proposal;
  /** Nodes may refuse what may not be in force yet. */
  readonly mayRefuse: boolean;
}

async function choose(
  world: PushWorld,
  { pending, nodes, ballot }: Promised,
  proposal: Proposal | undefined,
): Promise<Chosen | undefined> {
  if (pending === undefined) return proposal === undefined ? undefined : { proposal, mayRefuse: true };
  const { record } = pending.accepted;
  const { answer, failure } = await askOne(
    world,
    pending.holder,
    { ask: "fetch", hash: record.hash },
    PUSH_STAGE_MS,
  );
  if (answer?.kind === "text") {
    return {
      proposal: { record, text: answer.text, file: `version ${record.number}`, onRestart: true },
      mayRefuse: false,
    };
  }
  await release(world, nodes, ballot);
  const text = `an earlier push of version ${record.number} has not ended, and ${pending.holder.name} can't be asked for it`;
  throw new DlbaError("PUSH_BUSY", `${text}: ${failure || answer?.kind}`, {
    hint: "push again in a few seconds",
  });
}

interface Staged {
  readonly nodes: readonly Peer[];
  readonly away: readonly NodeSaid[];
  readonly warnings: readonly NodeSaid[];
}

async function stageAll(
  world: PushWorld,
  peers: readonly Peer[],
  { slot, ballot, nodes: promisers, away: absent }: Promised,
  { proposal: { text, file, onRestart }, mayRefuse }: Chosen,
): Promise<Staged> {
  const request = {
    ask: "stage",
    slot,
    ballot,
    text,
    file,
    check: mayRefuse,
    on_restart: onRestart,
  } as const;
  const heard = await askAll(world, promisers, request, PUSH_STAGE_MS);
  const refusals = heard.flatMap(({ peer, answer }) => {
    if (answer?.kind === "bad") return answer.reasons.map((text) => ({ node: peer.name, text }));
    if (answer?.kind === "failed" && mayRefuse) return [{ node: peer.name, text: answer.reason }];
    return [];
  });
  if (refusals.length > 0) {
    await release(world, promisers, ballot);
    throw new DlbaError("PUSH_REFUSED", ["nothing was changed:", ...refusals.map(saidLine)].join("\n"));
  }
  const nodes = heard.flatMap(({ peer, answer }) => (answer?.kind === "good" ? [peer] : []));
  const away = [
    ...absent,
    ...heard.flatMap(({ peer, answer, failure }) =>
      answer?.kind === "good" ? [] : [{ node: peer.name, text: failure || refusalText(answer) }],
    ),
  ];
  const warnings = heard.flatMap(({ peer, answer }) =>
    answer?.kind === "good" ? answer.warnings.map((text) => ({ node: peer.name, text })) : [],
  );
  if (nodes.length >= majorityOf(peers)) return { nodes, away, warnings };
  await release(world, promisers, ballot);
  throw noMajority(peers, nodes.length, away);
}

/** What a node says, with its name. */
export const saidLine = ({ node, text }: NodeSaid): string => `${node}: ${text}`;

/** Whether a majority has voted for it. From the first of these questions on it may be in force one day. */
async function acceptAll(
  world: PushWorld,
  peers: readonly Peer[],
  { slot, ballot }: Promised,
  nodes: readonly Peer[],
  record: VersionRecord,
): Promise<boolean> {
  let left: readonly Peer[] = nodes;
  let votes = 0;
  for (let tries = 0; tries < PUSH_ACCEPT_TRIES; tries++) {
    if (tries > 0) await world.pause(PAUSE_MS);
    const heard = await askAll(world, left, { ask: "accept", slot, ballot, record }, PUSH_ASK_MS);
    votes += heard.filter(({ answer }) => answer?.kind === "accepted").length;
    if (votes >= majorityOf(peers)) return true;
    // Who has an objection keeps it; who gave no answer, or could not write, may do so yet.
    left = heard.flatMap(({ peer, answer }) =>
      answer === undefined || answer.kind === "failed" ? [peer] : [],
    );
    if (left.length === 0) return false;
  }
  return false;
}

/** Which version has the number of one that was voted on without a majority that is known. Rejects with PUSH_IN_DOUBT. */
async function findOut(
  world: PushWorld,
  peers: readonly Peer[],
  record: VersionRecord,
): Promise<VersionRecord> {
  for (let looks = 0; looks < OUTCOME_LOOKS; looks++) {
    if (looks > 0) await world.pause(2 * PAUSE_MS);
    const heard = await askAll(world, peers, { ask: "history" }, PUSH_ASK_MS);
    const records = heard.flatMap(({ answer }) => (answer?.kind === "history" ? answer.records : []));
    const found = records.find(({ number }) => number === record.number);
    if (found !== undefined) return found;
  }
  const text = `it is not known whether version ${record.number} is in force: too few nodes have answered`;
  throw new DlbaError("PUSH_IN_DOUBT", text, {
    hint: "the nodes agree by themselves as soon as a majority of them hear each other; 'dlba history' shows on what",
  });
}

/** Nodes that don't run a version, or of which that is not known, and why. */
export interface Laggards {
  readonly failing: readonly NodeSaid[];
  readonly silent: readonly NodeSaid[];
}

/** Who does not run a version; waits for them as long as they are just taking it. */
export async function untilRunning(
  world: PushWorld,
  peers: readonly Peer[],
  record: VersionRecord,
): Promise<Laggards> {
  const until_ms = world.now_ms() + PUSH_APPLY_MS;
  for (;;) {
    const { states, away } = await askStates(world, peers);
    const late = states.filter(({ state }) => state.running.number < record.number);
    const failed = late.filter(({ state }) => state.problem !== "");
    const isOver = late.length === failed.length || world.now_ms() > until_ms;
    if (isOver) {
      const failing = late.map(({ peer, state }) => ({
        node: peer.name,
        text: state.problem || `it still runs version ${state.running.number}`,
      }));
      return { failing, silent: away };
    }
    await world.pause(PAUSE_MS);
  }
}
