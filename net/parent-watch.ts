/**
 * What ties a process to the supervisor that started it: it ends with it, says when it is ready, and hears what the supervisor
 * has to say. Run by hand, without a supervisor, nothing of this does anything.
 */
import type { Config } from "../conf/schema.ts";
import { bind, checked, libc } from "./ffi.ts";

const PR_SET_PDEATHSIG = 1;
const SIGKILL = 9;

/** What a supervisor says to a process that it has started. */
export type Order =
  /** Do your work now. Said once, after the process was ready. */
  | { readonly kind: "serve" }
  /**
   * Another process does your work from now on: end what is under way, within this time, then end. Of the listening sockets
   * those at these places (as in `listenersOf`) have nobody any more; the other ones are your successor's, too.
   */
  | { readonly kind: "retire"; readonly ended: readonly number[]; readonly retire_ms: number }
  /** Take what waits for the process that you stand in for, or leave it to that one again. */
  | { readonly kind: "cover"; readonly isOn: boolean }
  /** This is what these files hold now (by path, in base64); they have been checked. */
  | { readonly kind: "files"; readonly files: Readonly<Record<string, string>> }
  /** This is what the array key's file holds now; to be answered by `reportTaken`. */
  | { readonly kind: "key"; readonly text: string; readonly number: number }
  /** This is the configuration from now on; what can't change while the process runs is as it was. */
  | { readonly kind: "configure"; readonly config: Config };

/**
 * Ends this process when its supervisor ends, however that happened. The kernel does it (prctl(2)), so it
 * also holds for a process that is stopped or stuck in a loop.
 */
export function exitWithParent(): void {
  if (process.send === undefined) return;
  const prctl = bind<[number, number], number>(libc(), "int prctl(int option, unsigned long argument)");
  checked("prctl", prctl(PR_SET_PDEATHSIG, SIGKILL));
  // The supervisor may have died before the call; then nobody holds the other end of the channel.
  if (!process.connected) process.exit(1);
}

/** Tells the supervisor that this process is ready to do its work. */
export function reportReady(): void {
  process.send?.("ready");
}

/** Tells the supervisor that the order with this number has been carried out. */
export function reportTaken(number: number): void {
  process.send?.({ taken: number });
}

/** Calls back for each order of the supervisor. That orders may come does not keep a process alive. */
export function onOrder(take: (order: Order) => void): void {
  process.on("message", (order: Order) => take(order));
  process.channel?.unref();
}

export const hasSupervisor = (): boolean => process.send !== undefined;
