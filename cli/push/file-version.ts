/** A configuration file as a version: number 0, which counts until one is pushed. */
import { isOperatingError } from "../../conf/errors.ts";
import { readConfigFile } from "../../conf/load.ts";
import { hashOf } from "./desk.ts";
import type { VersionRecord } from "./messages.ts";
import type { OpenStore } from "./store.ts";

/** The version that stands for a configuration file. */
export const fileVersion = (text: string): VersionRecord => ({
  number: 0,
  hash: hashOf(Buffer.from(text).toString("base64")),
  previous: "",
  at_ms: 0,
  by: "",
  comment: "",
});

/** Remembers what the file holds when a version comes into force: it is older than that then. */
export function noteFile(store: OpenStore, configFile: string): void {
  try {
    store.noteFileHash(fileVersion(readConfigFile(configFile)).hash);
  } catch (error) {
    // Without that it counts as edited, which is said where it matters.
    if (!isOperatingError(error)) throw error;
  }
}
