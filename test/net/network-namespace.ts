/** A network namespace for the test's own process; it goes with it, so nothing is left behind. */
import { execFileSync } from "node:child_process";
import { bind, checked, libc } from "../../net/ffi.ts";

const CLONE_NEWNET = 0x4000_0000;

/**
 * Takes this thread into a new namespace with `lo` up: sockets, threads and programs that are made from now on are in
 * it. To be called before anything else opens a socket. Needs root.
 */
export function enterOwnNetwork(): void {
  checked("unshare", bind<[number], number>(libc(), "int unshare(int flags)")(CLONE_NEWNET));
  ip("link set lo up");
}

/** Runs `ip` with these words. */
export const ip = (words: string): string => execFileSync("ip", words.split(" "), { encoding: "utf8" });
