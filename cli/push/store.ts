/**
 * What a node keeps of pushed versions, in `STATE_DIR/push`: `state.json` (what is promised, voted for and in force, and the
 * history) and `versions/HASH.yaml`, the texts by what they are. Each file is written aside, brought to the disk, and renamed, so
 * whatever happens there is the old or the new one. Synchronous: between a vote and its answer nothing else may happen.
 */
import {
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { DlbaError } from "../../conf/errors.ts";
import { KEPT_VERSIONS, KEPT_VERSIONS_BYTES, MAX_CONFIG_BYTES } from "../../conf/limits.ts";
import { isRecord, parseJson } from "../../conf/record.ts";
import { hashOf, type VersionStore } from "./desk.ts";
import { readAccepted, readBallot, readVersion, type VersionRecord } from "./messages.ts";
import type { Durable } from "./voter.ts";

export interface OpenStore extends VersionStore {
  /** What an earlier life has left; undefined when nothing was ever pushed to this node. */
  readonly found: Durable | undefined;
  /** The file that holds a text, for messages about what stands in it. */
  readonly fileOf: (hash: string) => string;
  /** SHA-256 of the node's configuration file when its version came into force: has that been edited since? */
  readonly fileHash: () => string;
  readonly noteFileHash: (hash: string) => void;
}

interface Content {
  durable: Durable | undefined;
  history: readonly VersionRecord[];
  fileHash: string;
}

const PARTIAL = ".new";

/** Opens a node's store; what it is kept in is made with the first write. Throws DlbaError STORE_DAMAGED when what is there can't be understood. */
export function openStore(stateDir: string): OpenStore {
  const dir = join(stateDir, "push");
  const versions = join(dir, "versions");
  const stateFile = join(dir, "state.json");
  let content = readContent(stateFile);
  const fileOf = (hash: string): string => join(versions, `${hash}.yaml`);
  // Who only looks, perhaps without privileges, makes nothing.
  const make = (): unknown => mkdirSync(versions, { recursive: true, mode: 0o700 });
  const write = (next: Content): void => {
    make();
    replaceFile(dir, stateFile, Buffer.from(`${JSON.stringify(next)}\n`));
    content = next;
  };
  const read = (hash: string): string | undefined => readText(fileOf(hash), hash);
  return {
    found: content.durable,
    fileOf,
    has: (hash) => read(hash) !== undefined,
    read,
    keep: (hash, text) => {
      if (read(hash) !== undefined) return;
      make();
      replaceFile(versions, fileOf(hash), Buffer.from(text, "base64"));
      removeOld(versions, content, hash);
    },
    save: (durable) => {
      const { current } = durable;
      const isNew = current.number > 0 && current.number !== (content.history[0]?.number ?? 0);
      const before = content.durable?.current;
      const earlier = content.history.length === 0 && before?.number === 0 ? [before] : content.history;
      const history = isNew ? [current, ...earlier].slice(0, KEPT_VERSIONS) : content.history;
      write({ ...content, durable, history });
    },
    history: () => content.history,
    fileHash: () => content.fileHash,
    noteFileHash: (hash) => {
      if (hash !== content.fileHash) write({ ...content, fileHash: hash });
    },
  };
}

function readContent(path: string): Content {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT")
      return { durable: undefined, history: [], fileHash: "" };
    throw damaged(path, error);
  }
  const value = parseJson(text);
  if (!isRecord(value)) throw damaged(path);
  const history = Array.isArray(value["history"]) ? value["history"].map(readVersion) : [undefined];
  const fileHash = value["fileHash"];
  const durable = readDurable(value["durable"]);
  if (durable === "damaged" || history.includes(undefined) || typeof fileHash !== "string")
    throw damaged(path);
  return { durable, history: history.filter((each) => each !== undefined), fileHash };
}

function readDurable(value: unknown): Durable | undefined | "damaged" {
  if (value === undefined) return undefined;
  if (!isRecord(value)) return "damaged";
  const current = readVersion(value["current"]);
  const promised = value["promised"] === null ? null : readBallot(value["promised"]);
  const accepted = value["accepted"] === null ? null : readAccepted(value["accepted"]);
  if (current === undefined || promised === undefined || accepted === undefined) return "damaged";
  return { current, promised, accepted };
}

function damaged(path: string, cause?: unknown): DlbaError {
  return new DlbaError(
    "STORE_DAMAGED",
    `${path}, which says what version of the configuration is in force, can't be read`,
    {
      hint: "if the other nodes run, remove it and start this one with their configuration file: it takes the version from them",
      cause,
    },
  );
}

function readText(path: string, hash: string): string | undefined {
  try {
    if (statSync(path).size > MAX_CONFIG_BYTES) return undefined;
    const text = readFileSync(path).toString("base64");
    return hashOf(text) === hash ? text : undefined;
  } catch {
    return undefined;
  }
}

/** All or nothing, and on the disk when it returns. */
function replaceFile(dir: string, path: string, bytes: Buffer): void {
  const fresh = path + PARTIAL;
  const fd = openSync(fresh, "w", 0o600);
  try {
    for (let at = 0; at < bytes.length;) at += writeSync(fd, bytes, at);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
  renameSync(fresh, path);
  const folder = openSync(dir, "r");
  try {
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
}

/** Keeps what is in force, voted for or just kept, and of the history the newest; all else goes. */
function removeOld(versions: string, { durable, history }: Content, kept: string): void {
  const needed = [
    kept,
    durable?.current.hash,
    durable?.accepted?.record.hash,
    ...history.map(({ hash }) => hash),
  ];
  const order = [...new Set(needed.filter((hash) => hash !== undefined))];
  const least = order.indexOf(history[0]?.hash ?? kept);
  let bytes = 0;
  const stay = new Set<string>();
  for (const [i, hash] of order.entries()) {
    bytes += sizeOf(join(versions, `${hash}.yaml`));
    if (i <= Math.max(least, 2) || bytes <= KEPT_VERSIONS_BYTES) stay.add(`${hash}.yaml`);
  }
  for (const name of readdirSync(versions))
    if (!stay.has(name)) rmSync(join(versions, name), { force: true });
}

const sizeOf = (path: string): number => statSync(path, { throwIfNoEntry: false })?.size ?? 0;
