/** Runs system programs (`ip`, `nft`, `openssl`…), always with an argument list: no shell reads anything. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { text } from "node:stream/consumers";
import { DlbaError } from "../conf/errors.ts";

export interface CommandResult {
  /** Exit code; 128 + the signal's number has no meaning here: a signal gives -1. */
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program to its end, whatever its exit code. Throws DlbaError PROGRAM_MISSING when it can't be started. */
export async function tryCommand(
  program: string,
  args: readonly string[],
  input = "",
): Promise<CommandResult> {
  const child = spawn(program, args, { stdio: "pipe" });
  child.stdin.on("error", () => {}); // It may end without reading its input.
  child.stdin.end(input);
  const [, stdout, stderr] = await Promise.all([
    once(child, "spawn").catch((cause: unknown) => {
      throw new DlbaError("PROGRAM_MISSING", `${program} can't be run`, { cause });
    }),
    text(child.stdout),
    text(child.stderr),
    once(child, "close").catch(() => {}), // The start's error is reported above.
  ]);
  return { code: child.exitCode ?? -1, stdout, stderr };
}

/** Runs a program and returns its output; throws DlbaError COMMAND_FAILED when it exits with another code than 0. */
export async function command(program: string, args: readonly string[], input = ""): Promise<string> {
  const { code, stdout, stderr } = await tryCommand(program, args, input);
  if (code === 0) return stdout;
  throw new DlbaError("COMMAND_FAILED", `${[program, ...args].join(" ")} failed (${code}): ${stderr.trim()}`);
}
