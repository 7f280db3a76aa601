/**
 * The cables of a lab, pulled at a known moment. A program that is started first takes some milliseconds, which would be
 * counted; so one waits for its orders.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { DlbaError } from "../conf/errors.ts";
import { monotonicNow_ms } from "./flow-report.ts";
import { labPlaces } from "./places.ts";
import { SWITCH } from "./planned-host.ts";
import type { Cut } from "./probe-report.ts";

export interface Cables {
  /** Takes a host's cable out of the array's segment; resolves with when that was. */
  pull(hostName: string): Promise<Cut>;
  putBack(hostName: string): Promise<void>;
  close(): Promise<void>;
}

/** Holds a lab's cables on the array's own segment until closed. */
export function holdCables(lab: string): Cables {
  const namespace = labPlaces(lab).namespacePrefix + SWITCH;
  const child = spawn("ip", ["-o", "-n", namespace, "-batch", "-"], { stdio: ["pipe", "pipe", "inherit"] });
  const closed = once(child, "close");
  const output = createInterface({ input: child.stdout });
  const set = async (hostName: string, state: "up" | "down"): Promise<Cut> => {
    if (child.exitCode !== null) throw new DlbaError("COMMAND_FAILED", "ip has ended");
    const shown = once(output, "line");
    const begun_ms = monotonicNow_ms();
    // It shows the link once it is set: that is the sign.
    child.stdin.write(`link set dev ${hostName} ${state}\nlink show dev ${hostName}\n`);
    await Promise.race([shown, closed]);
    return { begun_ms, done_ms: monotonicNow_ms() };
  };
  return {
    pull: async (hostName) => set(hostName, "down"),
    putBack: async (hostName) => void (await set(hostName, "up")),
    close: async () => {
      child.stdin.end();
      await closed;
    },
  };
}
