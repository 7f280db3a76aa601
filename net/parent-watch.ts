/**
 * What ties a process to the supervisor that started it. Every daemon's main calls both; run by hand, without
 * a supervisor, they do nothing.
 */
import { bind, checked, libc } from "./ffi.ts";

const PR_SET_PDEATHSIG = 1;
const SIGKILL = 9;

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

/** Tells the supervisor that this process does its work now. */
export function reportReady(): void {
  process.send?.("ready");
}
