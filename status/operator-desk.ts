/**
 * What operators may change over `servers.sock`, in one dialect: web servers are this process' own business, nodes and hand-overs
 * the scheduler process', which is asked for them.
 */
import { join } from "node:path";
import { describeError, DlbaError } from "../conf/errors.ts";
import { CONTROL_TIMEOUT_MS } from "../conf/limits.ts";
import { askAdmin } from "../net/admin-socket.ts";
import { unknownWord } from "./unknown-word.ts";

const HELP = [
  "set server POOL/ID state ready|drain|maint",
  "set server POOL/ID weight N (or set weight POOL/ID N)",
  "drain node NODE",
  "undrain node NODE",
  "drain-status node NODE",
  "handover [NODE]",
  "help",
].join("; ");

const OF_SERVERS = ["set", "server", "weight", "here"];
const OF_NODES = ["drain", "undrain", "drain-status", "handover"];

/** Carries out one line; `servers` does what concerns web servers. Rejects with DlbaError: COMMAND_UNKNOWN, NO_ANSWER, ADMIN_REFUSED. */
export async function operatorCommand(
  line: string,
  runDir: string,
  servers: (line: string) => Promise<string>,
): Promise<string> {
  const [verb = "", ...words] = line.trim().split(/\s+/);
  if (verb === "help") return HELP;
  if (OF_SERVERS.includes(verb)) return servers(line);
  if (!OF_NODES.includes(verb)) throw unknownWord("command", verb, [...OF_SERVERS, ...OF_NODES, "help"]);
  const name = words[0] === "node" ? words.slice(1) : words;
  return askScheduler(join(runDir, "admin.sock"), [verb, ...name].join(" "));
}

async function askScheduler(path: string, line: string): Promise<string> {
  try {
    return await askAdmin({ path, line, timeout_ms: CONTROL_TIMEOUT_MS });
  } catch (error) {
    if (error instanceof DlbaError) throw error;
    const text = `the scheduler process of this node can't be reached: ${describeError(error)}`;
    throw new DlbaError("NO_ANSWER", text);
  }
}
