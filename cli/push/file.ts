/**
 * The configuration file on a node's disk, beside versions that are pushed. It counts as long as nothing was ever pushed; then the
 * version that is in force does, and whoever edits the file and wants it taken is told to push it.
 */
import { DlbaError } from "../../conf/errors.ts";
import { readConfigFile } from "../../conf/load.ts";
import type { Logger } from "../../status/log.ts";
import { readGeneration, textGeneration } from "../generation.ts";
import type { RunningNode } from "../running-node.ts";
import type { VersionRecord } from "./messages.ts";
import type { NodeSide } from "./node-side.ts";
import { fileVersion } from "./file-version.ts";
import type { OpenStore } from "./store.ts";

export interface FileReloadOptions {
  readonly running: Pick<RunningNode, "take" | "generation">;
  readonly side: Pick<NodeSide, "current" | "noteFile">;
  readonly store: Pick<OpenStore, "fileHash">;
  readonly configFile: string;
}

/** How `dlba reload` is carried out: by the file as long as nothing was pushed, else by the version that is in force. */
export function fileReload({ running, side, store, configFile }: FileReloadOptions): () => Promise<string[]> {
  return async () => {
    let note = "";
    let text: string | undefined;
    // All of it when its turn has come: a push may be carried out before it.
    const done = await running.take(() => {
      const current = side.current();
      if (current.number === 0) {
        const generation = readGeneration(configFile);
        ({ text } = generation);
        return generation;
      }
      const state = fileState(store, current, configFile);
      if (state === "edited") throw edited(current, configFile);
      if (state !== "same") note = `${nameOf(current)} counts; ${configFile} is not read`;
      const { text: runs, file } = running.generation();
      return textGeneration(runs, file);
    });
    if (text !== undefined) side.noteFile(fileVersion(text));
    return note === "" ? done : [...done, note];
  };
}

/** Says at a node's start when its configuration file is not what it runs. */
export function tellFile(store: OpenStore, current: VersionRecord, configFile: string, log: Logger): void {
  if (current.number === 0) return;
  const state = fileState(store, current, configFile);
  if (state !== "same") {
    const { number, by } = current;
    log.warn(
      { config_file: configFile, version: number, by },
      "the version that was pushed last is run, and not the configuration file, which differs",
    );
  }
}

/** same: it holds what is in force; other: what it held when that came; edited: something else; undefined: it can't be read. */
function fileState(
  store: Pick<OpenStore, "fileHash">,
  { hash }: VersionRecord,
  configFile: string,
): "same" | "other" | "edited" | undefined {
  let found: string;
  try {
    found = fileVersion(readConfigFile(configFile)).hash;
  } catch {
    return undefined;
  }
  if (found === hash) return "same";
  return found === store.fileHash() ? "other" : "edited";
}

const nameOf = ({ number, by }: VersionRecord): string => `version ${number}, pushed by ${by},`;

function edited(current: VersionRecord, configFile: string): DlbaError {
  const text = `${configFile} has been edited, but ${nameOf(current)} counts for the whole array`;
  return new DlbaError("FILE_EDITED", text, {
    hint: `push the edited file with: dlba push ${configFile}; or see what runs with: dlba export`,
  });
}
