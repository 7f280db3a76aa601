/**
 * A node's side of pushes, in its supervisor: answers on `push.port`, compares its version with the others', and has the node's
 * processes run what is in force. Votes and comparisons are decided elsewhere (`voter.ts`, `keep-in-step.ts`).
 */
import { describeError, DlbaError, isOperatingError } from "../../conf/errors.ts";
import { parseArrayKey, type ArrayKey } from "../../conf/keys.ts";
import {
  PUSH_COMPARE_MS,
  PUSH_CONNECTIONS,
  PUSH_LINE_BYTES,
  PUSH_RETRY_MAX_MS,
  PUSH_RETRY_MIN_MS,
  PUSH_STAGE_MS,
} from "../../conf/limits.ts";
import type { SupervisorReport } from "../../conf/messages.ts";
import type { Config, NodeConfig } from "../../conf/schema.ts";
import { productVersion } from "../../conf/version.ts";
import { controlServer, type ControlServer } from "../../net/control-tls.ts";
import type { Logger } from "../../status/log.ts";
import { textGeneration } from "../generation.ts";
import type { RunningNode } from "../running-node.ts";
import { noteFile } from "./file-version.ts";
import { peersOf, realWorld } from "./control.ts";
import { answerRequest, hashOf, learn, type Desk } from "./desk.ts";
import { readHealth } from "./health.ts";
import { judge } from "./judge.ts";
import { compare, type NodeWorld } from "./keep-in-step.ts";
import { readRequest, type VersionRecord } from "./messages.ts";
import type { OpenStore } from "./store.ts";
import { startVoter, type Durable } from "./voter.ts";

export interface NodeSideOptions {
  readonly node: NodeConfig;
  readonly configFile: string;
  readonly pinDir: string;
  readonly runDir: string;
  readonly store: OpenStore;
  /** What is in force, as far as it knows. */
  readonly durable: Durable;
  /** What its processes run; mostly the same. */
  readonly runs: VersionRecord;
  readonly running: RunningNode;
  readonly log: Logger;
}

export interface NodeSide {
  /** The version that is in force. */
  readonly current: () => VersionRecord;
  /** The configuration file, which counts as long as nothing was pushed, holds something else now. */
  readonly noteFile: (record: VersionRecord) => void;
  readonly report: () => SupervisorReport;
  /** The node's processes have another array key. */
  readonly keyChanged: () => void;
  readonly close: () => Promise<void>;
}

interface Side {
  readonly options: NodeSideOptions;
  readonly desk: Desk;
  /** As the node's processes have it, whatever the file holds by now. */
  readonly arrayKey: ArrayKey;
  running: { number: number; hash: string; problem: string };
  isTaking: boolean;
  isClosed: boolean;
  retry: NodeJS.Timeout | undefined;
  retry_ms: number;
  wake: () => void;
}

/** Listens, compares and takes until closed. */
export function startNodeSide(options: NodeSideOptions): NodeSide {
  const { runs } = options;
  const side: Side = {
    options,
    desk: deskOf(options, () => side),
    arrayKey: runningKey(options.running),
    running: { number: runs.number, hash: runs.hash, problem: "" },
    isTaking: false,
    isClosed: false,
    retry: undefined,
    retry_ms: PUSH_RETRY_MIN_MS,
    wake: () => undefined,
  };
  const listening = listenUntilClosed(side);
  void compareUntilClosed(side);
  void takeCurrent(side);
  return {
    current: () => side.desk.voter.durable.current,
    noteFile: (record) => {
      const { voter } = side.desk;
      // A push has come while the file was taken: it is carried out next.
      if (voter.durable.current.number !== 0) return;
      side.desk.voter = { ...voter, durable: { ...voter.durable, current: record } };
      side.running = { number: record.number, hash: record.hash, problem: "" };
    },
    report: () => reportOf(side),
    keyChanged: () => {
      keyNow(side);
      void listening.then((server) => server?.dropForgotten());
    },
    close: async () => {
      side.isClosed = true;
      clearTimeout(side.retry);
      side.wake();
      await (await listening)?.close();
    },
  };
}

function runningKey(running: RunningNode): ArrayKey {
  const { config, files } = running.generation();
  const { key_file } = config.array;
  return parseArrayKey(Buffer.from(files[key_file]!, "base64").toString("latin1"), key_file);
}

/** Who listens has the same object, and so hears the key that has come. */
function keyNow({ arrayKey, options }: Side): ArrayKey {
  const { current, also } = runningKey(options.running);
  return Object.assign(arrayKey, { current, also });
}

const configNow = ({ options }: Side): Config => options.running.generation().config;

function deskOf(options: NodeSideOptions, side: () => Side): Desk {
  const { node, pinDir, runDir, store, running } = options;
  const judging = {
    node: node.name,
    pinDir,
    running: (): Config => running.generation().config,
    needs: running.needs,
  };
  return {
    voter: startVoter(options.durable),
    node: node.name,
    productVersion: productVersion(),
    store: withFileText(store, () => side()),
    now_ms: () => performance.now(),
    check: async (text, file, onRestart) =>
      judge(judging, Buffer.from(text, "base64").toString("utf8"), file, onRestart),
    running: () => side().running,
    peers: () => peersOf(configNow(side())),
    health: async () => readHealth(runDir),
    onCommit: () => {
      noteFile(store, options.configFile);
      void takeCurrent(side());
    },
    onBehind: () => side().wake(),
  };
}

/** The text of the configuration file is kept like any version when the first one is pushed, so that one can go back to it. */
function withFileText(store: OpenStore, side: () => Side): OpenStore {
  const fileText = (): { hash: string; text: string } | undefined => {
    const { running, options } = side();
    if (running.number !== 0) return undefined;
    const text = Buffer.from(options.running.generation().text).toString("base64");
    return hashOf(text) === running.hash ? { hash: running.hash, text } : undefined;
  };
  return {
    ...store,
    read: (hash) => {
      const file = fileText();
      return store.read(hash) ?? (file?.hash === hash ? file.text : undefined);
    },
    keep: (hash, text) => {
      const file = fileText();
      if (file !== undefined) store.keep(file.hash, file.text);
      store.keep(hash, text);
    },
  };
}

function reportOf({ desk, running }: Side): SupervisorReport {
  const { current, accepted } = desk.voter.durable;
  return {
    kind: "supervisor",
    config_version: current.number,
    config_hash: current.hash,
    config_by: current.by,
    config_comment: current.comment,
    running_version: running.number,
    running_hash: running.hash,
    config_problem: running.problem,
    vote_in_doubt: accepted?.record.number ?? null,
  };
}

/** The port may be another process' for a while: the node serves all the same. */
async function listenUntilClosed(side: Side): Promise<ControlServer | undefined> {
  const { node, log } = side.options;
  for (let isTold = false; !side.isClosed;) {
    const { push } = configNow(side);
    try {
      return await controlServer({
        address: node.address,
        port: push.port,
        arrayKey: keyNow(side),
        request_bytes: PUSH_LINE_BYTES,
        connections: PUSH_CONNECTIONS,
        timeout_ms: PUSH_STAGE_MS,
        handle: async (line) => {
          const request = readRequest(line);
          if (request === undefined) throw new DlbaError("PUSH_UNKNOWN", "no question about versions");
          return JSON.stringify(await answerRequest(side.desk, request));
        },
      });
    } catch (error) {
      if (!isOperatingError(error)) throw error;
      if (!isTold) log.error({ port: push.port, reason: describeError(error) }, "pushes can't be answered");
      isTold = true;
      await pause(side, PUSH_COMPARE_MS);
    }
  }
  return undefined;
}

/** Ends early when there is reason to look, and when the node stops; does not keep the process alive. */
function pause(side: Side, pause_ms: number): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, pause_ms).unref();
    const before = side.wake;
    side.wake = () => {
      clearTimeout(timer);
      before();
      resolve();
    };
  });
}

/** The store may be another process' by now, when this node is upgraded. */
function stillOurs({ isClosed }: Side): void {
  if (isClosed) throw new DlbaError("NODE_LEFT", "this process does not lead the node any more");
}

async function compareUntilClosed(side: Side): Promise<void> {
  const { node, log } = side.options;
  const { desk } = side;
  const real = realWorld(() => keyNow(side));
  const world: NodeWorld = {
    ...real,
    // This node's own vote, while it sees to another's end.
    ask: async (peer, request, timeout_ms) => {
      if (peer.number !== node.number) return real.ask(peer, request, timeout_ms);
      stillOurs(side);
      return answerRequest(desk, request);
    },
    voter: () => desk.voter,
    learn: (record, text) => {
      stillOurs(side);
      learn(desk, record, text);
    },
  };
  let told = "";
  for (let round = node.number; !side.isClosed; round++) {
    // Not all at the same time, so that not all see to the same vote.
    await pause(side, PUSH_COMPARE_MS * (1 + Math.random() / 2));
    side.wake = () => undefined;
    if (side.isClosed) return;
    try {
      const peers = peersOf(configNow(side));
      const own = peers.find(({ number }) => number === node.number);
      if (own === undefined) continue;
      const compared = await compare(world, peers, own, round);
      if (compared === "settled" || compared === "caught up")
        log.info(
          { version: desk.voter.durable.current.number, how: compared },
          "a version was missed and has been fetched",
        );
      told = "";
    } catch (error) {
      if (!isOperatingError(error)) throw error;
      const reason = describeError(error);
      if (reason !== told) log.error({ reason }, "a pushed version can't be fetched or kept");
      told = reason;
    }
  }
}

/** Has the processes run what is in force; tries again when that fails, and takes what has come meanwhile. */
async function takeCurrent(side: Side): Promise<void> {
  if (side.isTaking || side.isClosed) return;
  side.isTaking = true;
  clearTimeout(side.retry);
  while (!side.isClosed && side.running.number !== side.desk.voter.durable.current.number) {
    const { current } = side.desk.voter.durable;
    if (await take(side, current)) continue;
    // What came in the meantime may be better.
    if (side.desk.voter.durable.current !== current) continue;
    side.retry = setTimeout(() => void takeCurrent(side), side.retry_ms).unref();
    side.retry_ms = Math.min(2 * side.retry_ms, PUSH_RETRY_MAX_MS);
    break;
  }
  side.isTaking = false;
}

async function take(side: Side, record: VersionRecord): Promise<boolean> {
  const { store, running, log } = side.options;
  const { number, hash, by, comment } = record;
  const facts = { version: number, by, comment };
  try {
    const text = store.read(hash);
    if (text === undefined)
      throw new DlbaError("TEXT_MISSING", `the text of version ${number} is not on the disk`);
    const done = await running.take(() =>
      textGeneration(Buffer.from(text, "base64").toString("utf8"), store.fileOf(hash)),
    );
    side.running = { number, hash, problem: "" };
    side.retry_ms = PUSH_RETRY_MIN_MS;
    log.info({ ...facts, done }, "a pushed configuration is in force");
    return true;
  } catch (error) {
    if (!isOperatingError(error)) throw error;
    const reason = describeError(error);
    if (reason !== side.running.problem)
      log.error({ ...facts, reason }, "a pushed configuration can't be taken: this node runs the one before");
    side.running = { ...side.running, problem: reason };
    return false;
  }
}
