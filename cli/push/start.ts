/** Which configuration a node starts with: the version that was pushed last, or, when none ever was, its file. */
import { DlbaError } from "../../conf/errors.ts";
import { readArrayKey } from "../../conf/keys.ts";
import { PUSH_START_MS } from "../../conf/limits.ts";
import type { Config } from "../../conf/schema.ts";
import { configOf, readText } from "../generation.ts";
import { peersOf, realWorld } from "./control.ts";
import { hashOf } from "./desk.ts";
import { fileVersion, noteFile } from "./file-version.ts";
import { catchUp, type NodeWorld } from "./keep-in-step.ts";
import type { OpenStore } from "./store.ts";
import { startVoter, type Durable } from "./voter.ts";

export interface Chosen {
  readonly text: string;
  readonly config: Config;
  /** What errors in it are told with. */
  readonly file: string;
  readonly durable: Durable;
}

/** By what is on this machine. Throws DlbaError as `readText` does, or VERSION_MISSING. */
export function chosenHere(store: OpenStore, durable: Durable | undefined, configFile: string): Chosen {
  if (durable === undefined || durable.current.number === 0) {
    const { text, config } = readText(configFile);
    const nothing = { promised: null, accepted: null };
    return {
      text,
      config,
      file: configFile,
      durable: { ...nothing, ...durable, current: fileVersion(text) },
    };
  }
  const { number, hash } = durable.current;
  const file = store.fileOf(hash);
  const kept = store.read(hash);
  if (kept === undefined) {
    const text = `version ${number} of the configuration is in force, and its text is not in ${file}`;
    throw new DlbaError("VERSION_MISSING", text, {
      hint: "write it there ('dlba export' on another node prints it), or remove the directory 'push' around it: then the configuration file counts",
    });
  }
  const text = Buffer.from(kept, "base64").toString("utf8");
  return { text, config: configOf(text, file), file, durable };
}

/** Asks the other nodes for a later version, for a moment: one that was away need not start with what is past. */
export async function chosenWithOthers(
  store: OpenStore,
  chosen: Chosen,
  own: { readonly number: number },
  configFile: string,
): Promise<Chosen> {
  const real = realWorld(() => readArrayKey(chosen.config.array.key_file));
  let { durable } = chosen;
  const world: NodeWorld = {
    ...real,
    ask: async (peer, request) => real.ask(peer, request, PUSH_START_MS),
    voter: () => startVoter(durable),
    learn: (record, text) => {
      if (hashOf(text) !== record.hash) return;
      store.keep(record.hash, text);
      durable = { current: record, promised: null, accepted: null };
      store.save(durable);
      noteFile(store, configFile);
    },
  };
  await catchUp(
    world,
    peersOf(chosen.config).filter(({ number }) => number !== own.number),
  );
  return durable === chosen.durable ? chosen : chosenHere(store, durable, configFile);
}
