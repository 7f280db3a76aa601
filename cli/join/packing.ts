/** What a node gives to a host that joins, read from its files when the host comes. */
import { readFileSync, statSync } from "node:fs";
import { isAbsolute, resolve } from "node:path";
import { DlbaError } from "../../conf/errors.ts";
import { parseArrayKey } from "../../conf/keys.ts";
import { JOIN_FILE_BYTES, JOIN_PARCEL_BYTES } from "../../conf/limits.ts";
import { findNode } from "../../conf/node.ts";
import type { Config } from "../../conf/schema.ts";
import { productVersion } from "../../conf/version.ts";
import { inForce } from "../in-force.ts";
import { filesBeside, nodeWith, type JoinHello, type Parcel } from "./parcel.ts";

export interface Wanted {
  readonly configFile: string;
  readonly stateDir: string;
  /** Which node the host is to be; undefined: the one that has one of its addresses. */
  readonly node: string | undefined;
  readonly withCertificates: boolean;
}

/** Throws DlbaError: of the configuration and the key, NODE_UNKNOWN, JOIN_TOO_MUCH, FILE_UNREADABLE. */
export function packFor(hello: JoinHello, wanted: Wanted): Parcel {
  const path = resolve(wanted.configFile);
  const { text, config } = inForce(path, wanted.stateDir);
  const node = wanted.node === undefined ? nodeWith(config, hello.addresses) : findNode(config, wanted.node);
  return {
    version: productVersion(),
    node: node?.name ?? null,
    config: { path, text },
    key: readKey(resolve(config.array.key_file)),
    ...packFiles(config, wanted.withCertificates),
  };
}

function readKey(path: string): Parcel["key"] {
  let text: string;
  try {
    text = readFileSync(path, "latin1");
  } catch (cause) {
    throw new DlbaError("ARRAY_KEY_UNREADABLE", `the array key ${path} can't be read`, { cause });
  }
  parseArrayKey(text, path);
  return { path, text };
}

function packFiles(config: Config, isAsked: boolean): Pick<Parcel, "files" | "missing"> {
  const all = filesBeside(config);
  // Where a relative path leads depends on where 'dlba run' is started.
  const sent = all.filter(({ path, isOwn }) => isAsked && !isOwn && isAbsolute(path));
  const files = sent.map(({ path, isSecret }) => ({
    path,
    mode: isSecret ? 0o600 : 0o644,
    content: readBounded(path).toString("base64"),
  }));
  const size_bytes = files.reduce((sum, { content }) => sum + content.length, 0);
  if (size_bytes > JOIN_PARCEL_BYTES / 2) {
    const hint = "bring them otherwise, and leave --with-certificates out";
    throw new DlbaError("JOIN_TOO_MUCH", "the certificates are more than can be sent", { hint });
  }
  return { files, missing: all.filter((file) => !sent.includes(file)).map(({ path }) => path) };
}

function readBounded(path: string): Buffer {
  try {
    if (statSync(path).size > JOIN_FILE_BYTES) throw new RangeError(`more than ${JOIN_FILE_BYTES} bytes`);
    return readFileSync(path);
  } catch (cause) {
    throw new DlbaError("FILE_UNREADABLE", `${path} can't be sent`, { cause });
  }
}
