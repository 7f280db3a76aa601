/**
 * An array of nodes that vote on versions, and commands that push, on a virtual clock and network: the production's voters,
 * desks, proposers and comparisons. Messages are late, lost or come twice; processes end before and after each write.
 */
import { setImmediate as turn } from "node:timers/promises";
import { DlbaError } from "../../../conf/errors.ts";
import { PUSH_COMPARE_MS } from "../../../conf/limits.ts";
import { randomWords } from "../../../conf/random.ts";
import { answerRequest, type Desk, hashOf, learn } from "../../../cli/push/desk.ts";
import { compare } from "../../../cli/push/keep-in-step.ts";
import type { Answer, Peer, Request, VersionRecord } from "../../../cli/push/messages.ts";
import { propose, type PushWorld } from "../../../cli/push/proposer.ts";
import { type Durable, startVoter } from "../../../cli/push/voter.ts";

/** The process ends here, as if it had been killed. */
class Killed extends Error {}

/** Whoever asks and waits; what it waits for never comes when it has ended. */
interface Process {
  readonly name: string;
  isAlive: boolean;
}

export interface SimNode {
  readonly peer: Peer;
  /** What lasts. */
  durable: Durable;
  readonly texts: Map<string, string>;
  readonly history: VersionRecord[];
  /** What does not. */
  process: Process | undefined;
  desk: Desk | undefined;
}

export interface SimPush {
  readonly record: VersionRecord;
  readonly process: Process;
  /** "done", the code of the error, or undefined while it is under way or was killed. */
  outcome: string | undefined;
}

export interface SimArray {
  readonly nodes: readonly SimNode[];
  readonly pushes: SimPush[];
  /** By number, what nodes have had in force. */
  readonly decided: Map<number, VersionRecord>;
  readonly wrong: string[];
  /** Chances in a thousand. */
  loss: number;
  twice: number;
  deathAtWrite: number;
  /** That a node forgets whom it waits for, and that a message dawdles: locks are a courtesy, votes have to do without. */
  forgetting: number;
  dawdling: number;
  readonly cuts: Set<string>;
  now_ms: number;
  readonly random: (below: number) => number;
  readonly after: (delay_ms: number, run: () => void) => void;
  readonly run: (until_ms: number) => Promise<void>;
}

const base64 = (text: string): string => Buffer.from(text).toString("base64");
export const FIRST = base64("first");
const START: VersionRecord = { number: 0, hash: hashOf(FIRST), previous: "", at_ms: 0, by: "", comment: "" };

export function simArray(seed: number, count: number): SimArray {
  const words = randomWords(seed);
  const queue: { at_ms: number; order: number; run: () => void }[] = [];
  let order = 0;
  const array: SimArray = {
    nodes: Array.from({ length: count }, (_, i) => ({
      peer: { number: i + 1, name: `node${i + 1}`, address: `192.0.2.${i + 1}`, port: 1 },
      durable: { current: START, promised: null, accepted: null },
      texts: new Map([[START.hash, FIRST]]),
      history: [],
      process: undefined,
      desk: undefined,
    })),
    pushes: [],
    decided: new Map(),
    wrong: [],
    loss: 0,
    twice: 0,
    deathAtWrite: 0,
    forgetting: 0,
    dawdling: 0,
    cuts: new Set(),
    now_ms: 0,
    random: (below) => words() % below,
    after: (delay_ms, run) => void queue.push({ at_ms: array.now_ms + delay_ms, order: order++, run }),
    run: async (until_ms) => {
      for (;;) {
        let next = 0;
        for (let i = 1; i < queue.length; i++) {
          const [a, b] = [queue[i]!, queue[next]!];
          if (a.at_ms < b.at_ms || (a.at_ms === b.at_ms && a.order < b.order)) next = i;
        }
        const event = queue[next];
        if (event === undefined || event.at_ms > until_ms) break;
        queue[next] = queue.at(-1)!;
        queue.pop();
        array.now_ms = event.at_ms;
        event.run();
        await turn();
      }
      array.now_ms = until_ms;
    },
  };
  return array;
}

function ifAlive(process: Process, act: () => void): void {
  if (process.isAlive) act();
}

/** Waits that end with their process: nothing goes on behind a death. */
function worldOf(array: SimArray, process: Process): PushWorld {
  return {
    now_ms: () => array.now_ms,
    newId: () =>
      [0, 0]
        .map(() =>
          array
            .random(2 ** 32)
            .toString(16)
            .padStart(8, "0"),
        )
        .join(""),
    pause: (pause_ms) =>
      new Promise((resolve) => array.after(pause_ms, () => void (process.isAlive && resolve()))),
    ask: (peer, request, timeout_ms) =>
      new Promise((resolve, reject) => {
        array.after(timeout_ms, () =>
          ifAlive(process, () => reject(new DlbaError("CONTROL_TIMEOUT", "no answer"))),
        );
        const copies = array.random(1000) < array.twice ? 2 : 1;
        for (let copy = 0; copy < copies; copy++) {
          // The second one may come long after all is over.
          const slow_ms = array.random(1000) < array.dawdling ? 2500 : 40;
          const delay_ms = 1 + array.random(copy === 0 ? slow_ms : 20_000);
          if (array.random(1000) < array.loss) continue;
          array.after(delay_ms, () =>
            deliver(array, process, peer, request, (answer) => ifAlive(process, () => resolve(answer))),
          );
        }
      }),
  };
}

const isCut = ({ cuts }: SimArray, a: string, b: string): boolean =>
  cuts.has(`${a} ${b}`) || cuts.has(`${b} ${a}`);

function deliver(
  array: SimArray,
  from: Process,
  peer: Peer,
  request: Request,
  onAnswer: (answer: Answer) => void,
): void {
  const node = array.nodes.find(({ peer: { number } }) => number === peer.number)!;
  if (node.desk === undefined || isCut(array, from.name, peer.name)) return;
  const { process } = node;
  if (array.random(1000) < array.forgetting) node.desk.voter = { ...node.desk.voter, lock: undefined };
  void answered(array, node.desk, request).then((answer) => {
    const isLost = process?.isAlive !== true || array.random(1000) < array.loss;
    if (answer !== undefined && !isLost && !isCut(array, from.name, peer.name))
      array.after(1 + array.random(40), () => onAnswer(answer));
    return undefined;
  });
}

/** Undefined when the node was killed over it. */
async function answered(array: SimArray, desk: Desk, request: Request): Promise<Answer | undefined> {
  try {
    return await answerRequest(desk, request);
  } catch (error) {
    if (!(error instanceof Killed)) array.wrong.push(String(error));
    return undefined;
  }
}

/** Starts a node that is down, with what it had on its disk. */
export function startNode(array: SimArray, node: SimNode): void {
  if (node.process !== undefined) return;
  const process: Process = { name: node.peer.name, isAlive: true };
  const written = (write: () => void): void => {
    // A promise's continuation may run on for a moment after the process was killed; its disk is another life's then.
    if (!process.isAlive) throw new Killed();
    const dies = array.random(1000) < array.deathAtWrite;
    const isAfter = array.random(2) === 0;
    if (!dies || isAfter) write();
    if (!dies) return;
    killNode(array, node);
    throw new Killed();
  };
  const desk: Desk = {
    voter: startVoter(node.durable),
    node: node.peer.name,
    productVersion: "sim",
    store: {
      has: (hash) => node.texts.has(hash),
      read: (hash) => node.texts.get(hash),
      keep: (hash, text) => written(() => void node.texts.set(hash, text)),
      save: (durable) =>
        written(() => {
          if (durable.current !== node.durable.current) noteDecision(array, node, durable.current);
          node.durable = durable;
        }),
      history: () => node.history,
    },
    now_ms: () => array.now_ms,
    check: async (text) => ({
      reasons: Buffer.from(text, "base64").includes("bad") && node.peer.number === 2 ? ["bad here"] : [],
      warnings: [],
    }),
    running: () => ({ number: node.durable.current.number, hash: node.durable.current.hash, problem: "" }),
    peers: () => array.nodes.map(({ peer }) => peer),
    health: async () => null,
    onCommit: () => undefined,
    onBehind: () => undefined,
  };
  node.process = process;
  node.desk = desk;
  void compareForEver(array, node, desk, process);
}

async function compareForEver(array: SimArray, node: SimNode, desk: Desk, process: Process): Promise<void> {
  const world = {
    ...worldOf(array, process),
    voter: () => desk.voter,
    learn: (record: VersionRecord, text: string) => learn(desk, record, text),
  };
  const peers = array.nodes.map(({ peer }) => peer);
  for (let round = array.random(8); ; round++) {
    await world.pause(PUSH_COMPARE_MS + array.random(PUSH_COMPARE_MS));
    try {
      await compare(world, peers, node.peer, round);
    } catch (error) {
      if (error instanceof Killed) return;
      if (!(error instanceof DlbaError)) array.wrong.push(String(error));
    }
  }
}

function noteDecision(array: SimArray, node: SimNode, record: VersionRecord): void {
  node.history.unshift(record);
  const before = array.decided.get(record.number);
  if (before === undefined) array.decided.set(record.number, record);
  else if (JSON.stringify(before) !== JSON.stringify(record))
    array.wrong.push(
      `version ${record.number} is two: ${before.comment} and ${record.comment} on ${node.peer.name}`,
    );
}

export function killNode(_array: SimArray, node: SimNode): void {
  if (node.process !== undefined) node.process.isAlive = false;
  node.process = undefined;
  node.desk = undefined;
}

/** A command that pushes; `name` is where it runs. */
export function startPush(array: SimArray, name: string, content: string, number: number): SimPush {
  const text = base64(content);
  const previous = array.decided.get(number - 1)?.hash ?? "";
  const record = { number, hash: hashOf(text), previous, at_ms: array.now_ms, by: name, comment: content };
  const push: SimPush = { record, process: { name, isAlive: true }, outcome: undefined };
  array.pushes.push(push);
  const peers = array.nodes.map(({ peer }) => peer);
  propose(worldOf(array, push.process), peers, { record, text, file: "f", onRestart: false }).then(
    () => (push.outcome = "done"),
    (error: unknown) => {
      push.outcome = error instanceof DlbaError ? error.code : String(error);
      if (!(error instanceof DlbaError)) array.wrong.push(String(error));
    },
  );
  return push;
}

/** The highest number that any node has in force. */
export const latestNumber = (array: SimArray): number =>
  Math.max(...array.nodes.map(({ durable }) => durable.current.number));
