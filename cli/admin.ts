/** What the commands that change a running node share: how it is reached, how nodes are named, and what is said then. */
import { InvalidArgumentError } from "commander";
import { join } from "node:path";
import { askAdmin } from "../net/admin-socket.ts";
import { notReached } from "./show.ts";

/** An argument that names a node. Throws InvalidArgumentError. */
export function nodeName(text: string): string {
  if (/^[A-Za-z0-9-]{1,63}$/.test(text)) return text;
  throw new InvalidArgumentError("expected a node's name or number");
}

/** What a command has done, in its sentence; as JSON that is `done`. */
export function sayDone(sentence: string, json = false): void {
  process.stdout.write(`${json ? JSON.stringify({ done: sentence }) : sentence}\n`);
}

/** Which process is told to do what. */
const SOCKETS = { scheduler: "admin.sock", status: "servers.sock" } as const;

/** Has a process of a node carry out a command. Rejects with what it refuses, or NOT_RUNNING. */
export async function askAdminAt(
  runDir: string,
  line: string,
  timeout_ms: number,
  process: keyof typeof SOCKETS = "scheduler",
): Promise<string> {
  const path = join(runDir, SOCKETS[process]);
  try {
    return await askAdmin({ path, line, timeout_ms, process });
  } catch (error) {
    throw error instanceof Error ? notReached(path, error) : error;
  }
}
