/**
 * A new host's side of joining: asks the node that made the token, and writes what it gets. Whatever can fail is tried before the
 * first file has its name; the configuration gets its own last, so that where it is, everything is.
 */
import { existsSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { dirname } from "node:path";
import { describeError, DlbaError } from "../../conf/errors.ts";
import { parseArrayKey } from "../../conf/keys.ts";
import { JOIN_PARCEL_BYTES, JOIN_TIMEOUT_MS } from "../../conf/limits.ts";
import { parseConfig } from "../../conf/load.ts";
import type { Config } from "../../conf/schema.ts";
import { connectPsk } from "../../net/psk-tls.ts";
import { createFile, replaceFile } from "../whole-files.ts";
import { converse } from "./lines.ts";
import { filesBeside, readParcel, type JoinHello, type Parcel } from "./parcel.ts";
import { tokenPsk, type Token } from "./token.ts";

/**
 * Fetches what the token's node has for this host, and has `keep` write it; the node hears whether that worked. Rejects with
 * DlbaError: TOKEN_REFUSED, JOIN_FAILED, JOIN_UNREADABLE, or what `keep` throws.
 */
export async function arrive(
  token: Token,
  hello: JoinHello,
  keep: (parcel: Parcel) => void,
): Promise<Parcel> {
  const { address, port } = token;
  const where = `${address} port ${port}`;
  const socket = connectPsk(address, port, tokenPsk(token.secret));
  const timer = setTimeout(
    () => socket.destroy(new DlbaError("JOIN_FAILED", `${where} did not answer in time`)),
    JOIN_TIMEOUT_MS,
  );
  try {
    const talk = converse(socket, JOIN_PARCEL_BYTES);
    talk.say(JSON.stringify(hello));
    const parcel = readParcel(await talk.hear());
    try {
      keep(parcel);
    } catch (error) {
      talk.say(JSON.stringify({ done: false, reason: describeError(error).slice(0, 1000) }));
      throw error;
    }
    socket.end(`${JSON.stringify({ done: true })}\n`);
    return parcel;
  } catch (error) {
    throw error instanceof DlbaError && error.code !== "JOIN_BROKEN" ? error : refusal(where, error);
  } finally {
    clearTimeout(timer);
    // What was said last still has to leave.
    socket.destroySoon();
  }
}

function refusal(where: string, cause: unknown): DlbaError {
  const code = cause instanceof Error && "code" in cause ? String(cause.code) : "";
  if (code === "ECONNREFUSED" || code === "EHOSTUNREACH" || code === "ETIMEDOUT") {
    const hint = "is 'dlba token' still waiting there, and may this host reach it?";
    return new DlbaError("JOIN_FAILED", `${where} can't be reached`, { hint, cause });
  }
  const hint = "a token opens once and for a time: make a new one there with 'dlba token'";
  return new DlbaError("TOKEN_REFUSED", `${where} does not take this token`, { hint, cause });
}

interface Wanted {
  readonly path: string;
  readonly mode: number;
  readonly content: Buffer;
}

/**
 * Writes a parcel's files. What is there already with the same content stays; what has another content stops everything, but for
 * the configuration of a host that holds this array's key already: it takes the present one. Throws DlbaError JOIN_UNREADABLE,
 * CONFIG_INVALID, FILE_EXISTS or FILE_UNWRITABLE; then nothing has been left.
 */
export function keepParcel({ config, key, files }: Parcel): Config {
  const read = readSent(config);
  parseArrayKey(key.text, "that was sent");
  const named = new Set(filesBeside(read).map(({ path }) => path));
  const stray = files.find(({ path }) => !named.has(path));
  if (stray !== undefined) {
    const text = `the node sent ${stray.path}, which the configuration does not name`;
    throw new DlbaError("JOIN_UNREADABLE", text);
  }
  const [keyFile, configFile]: [Wanted, Wanted] = [
    { path: key.path, mode: 0o600, content: Buffer.from(key.text) },
    { path: config.path, mode: 0o644, content: Buffer.from(config.text) },
  ];
  const isMember = isThere(keyFile);
  const sent = files.map(({ path, mode, content }) => ({
    path,
    mode,
    content: Buffer.from(content, "base64"),
  }));
  const news = [...sent, keyFile].filter((file) => !isThere(file));
  const isOld = existsSync(configFile.path) && isMember;
  if (!isOld && !isThere(configFile)) news.push(configFile);
  createAll(news);
  if (isOld) replaceFile(configFile.path, configFile.content, configFile.mode);
  return read;
}

function readSent({ text, path }: Parcel["config"]): Config {
  const parsed = parseConfig(text, path);
  if ("config" in parsed) return parsed.config;
  throw new DlbaError("CONFIG_INVALID", "this version of dlba can't read the array's configuration", {
    hint: "install the version that the other nodes have",
  });
}

/** All of them in this order, or none. */
function createAll(files: readonly Wanted[]): void {
  const made: string[] = [];
  try {
    for (const { path } of files) makeDirectory(path);
    for (const { path, mode, content } of files) {
      createFile(path, content, mode);
      made.push(path);
    }
  } catch (error) {
    for (const path of made) rmSync(path, { force: true });
    throw error;
  }
}

/** Whether a file is there as it is to be. Throws DlbaError FILE_EXISTS when it is there and is not. */
function isThere({ path, content }: Wanted): boolean {
  if (!existsSync(path)) return false;
  if (readFileSync(path).equals(content)) return true;
  const text = `${path} is there already with another content; nothing was written`;
  throw new DlbaError("FILE_EXISTS", text, { hint: "move it away, and join with a new token" });
}

function makeDirectory(path: string): void {
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o755 });
  } catch (cause) {
    throw new DlbaError("FILE_UNWRITABLE", `${dirname(path)} can't be made; nothing was written`, { cause });
  }
}
