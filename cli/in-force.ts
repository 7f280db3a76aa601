/** The configuration that is in force on this machine, for commands that need no running node. */
import type { Config } from "../conf/schema.ts";
import { chosenHere } from "./push/start.ts";
import { openStore } from "./push/store.ts";

/**
 * The version that was pushed last, as it is kept in the node's state directory, or what the file holds when none ever was. Throws
 * DlbaError CONFIG_UNREADABLE, CONFIG_INVALID, VERSION_MISSING or STORE_DAMAGED.
 */
export function inForce(
  configFile: string,
  stateDir: string,
): { readonly text: string; readonly config: Config } {
  const store = openStore(stateDir);
  const { text, config } = chosenHere(store, store.found, configFile);
  return { text, config };
}
