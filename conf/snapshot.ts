/**
 * What a supervisor gives to the processes that it starts: a configuration that has been read once and checked, and the files
 * that it names. It comes as JSON in a descriptor; a process that was started by hand reads the configuration file.
 */
import { fstatSync, readSync } from "node:fs";
import { DlbaError } from "./errors.ts";
import { giveFiles } from "./given-files.ts";
import { loadConfig } from "./load.ts";
import type { ProcessOptions } from "./process-options.ts";
import type { Config } from "./schema.ts";

export interface Snapshot {
  readonly config: Config;
  /** By path, in base64. */
  readonly files: Readonly<Record<string, string>>;
}

/** The configuration that a process works by. Throws as `loadConfig` does, or DlbaError SNAPSHOT_UNREADABLE. */
export function givenConfig({ configFile, snapshotFd }: ProcessOptions): Config {
  if (snapshotFd === undefined) return loadConfig(configFile);
  const { config, files } = readSnapshot(snapshotFd);
  giveFiles(files);
  return config;
}

/** Others read the same descriptor: by places, not from where it stands. */
function readSnapshot(fd: number): Snapshot {
  try {
    const bytes = Buffer.alloc(fstatSync(fd).size);
    for (let length = 0; length < bytes.length;) {
      const count = readSync(fd, bytes, length, bytes.length - length, length);
      if (count === 0) break;
      length += count;
    }
    return JSON.parse(bytes.toString("utf8"));
  } catch (cause) {
    throw new DlbaError("SNAPSHOT_UNREADABLE", "what the supervisor gave can't be read", { cause });
  }
}
