/** Ctrl-C while a lab comes up or is used: it goes away, whatever is under way. */
import { spawnSync } from "node:child_process";
import { constants } from "node:os";
import { join } from "node:path";

const ROOT = join(import.meta.dirname, "..");
const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/**
 * From now on SIGINT, SIGTERM and SIGHUP take the lab down and end this process; returns how to end that.
 *
 * Synchronous on purpose: what this process was doing must not go on and make things anew behind it. In a
 * session of its own, so that a second Ctrl-C does not end the cleaning.
 */
export function downOnInterrupt(labName: string): () => void {
  const interrupt = (signal: NodeJS.Signals): void => {
    const down = [join(ROOT, "bin/dlba"), "lab", "down", "--name", labName];
    spawnSync("setsid", ["--wait", ...down], { stdio: "ignore" });
    process.exit(128 + constants.signals[signal]);
  };
  for (const signal of SIGNALS) process.on(signal, interrupt);
  return () => {
    for (const signal of SIGNALS) process.off(signal, interrupt);
  };
}
