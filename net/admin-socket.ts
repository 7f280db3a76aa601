/**
 * How a node is told what to do by who may: lines on a Unix socket that is its own user's alone. One command a line,
 * one answer a line: `ok`, with what was asked for behind it, or `error: …`.
 */
import { createConnection, type Socket } from "node:net";
import { describeError, DlbaError } from "../conf/errors.ts";
import {
  CONTROL_CONNECTIONS,
  CONTROL_REQUEST_BYTES,
  CONTROL_TIMEOUT_MS,
  PUBLISH_LINE_BYTES,
} from "../conf/limits.ts";
import type { NodeStateName } from "../conf/messages.ts";
import { lineReader } from "./lines.ts";
import { listenUnix, type UnixServer } from "./unix-server.ts";

/** The answer to `drain-status`, as JSON. */
export interface DrainStatus {
  /** The node's name. */
  readonly node: string;
  readonly state: NodeStateName;
  /** Null while nobody knows, as of a node that does not answer the sweep. */
  readonly connections_left: number | null;
  readonly buckets_left: number;
}

export interface AdminServerOptions {
  /** `${runDir}/admin.sock` */
  readonly path: string;
  /**
   * Carries out one command and resolves with what stands behind `ok`, or with "". A DlbaError becomes an
   * `error: …` line; anything else that it throws ends the process.
   */
  readonly handle: (line: string) => Promise<string>;
}

const OK = "ok";
const ERROR = "error: ";

/** Listens until closed. Throws DlbaError as `listenUnix` does. */
export function adminServer({ path, handle }: AdminServerOptions): Promise<UnixServer> {
  return listenUnix({
    path,
    mode: 0o600,
    connections: CONTROL_CONNECTIONS,
    onConnection: (socket) => serve(socket, handle),
  });
}

/** The commands of a connection are carried out one after the other; meanwhile no further ones are read. */
function serve(socket: Socket, handle: AdminServerOptions["handle"]): void {
  let last = Promise.resolve();
  let waiting = 0;
  const answerLine = async (line: string): Promise<void> => {
    const answer = await answerTo(line, handle);
    if (socket.writable) socket.write(`${answer.replaceAll(/\s*\n\s*/g, " ")}\n`);
    waiting -= 1;
    if (waiting === 0) socket.resume();
  };
  const lines = lineReader(
    CONTROL_REQUEST_BYTES,
    (line) => {
      waiting += 1;
      socket.pause();
      last = last.then(() => answerLine(line));
    },
    () => socket.end(`${ERROR}a line is longer than ${CONTROL_REQUEST_BYTES} bytes\n`),
  );
  socket.setTimeout(CONTROL_TIMEOUT_MS, () => waiting === 0 && socket.destroy());
  socket.on("data", lines.push);
  socket.on("end", () => void last.then(() => socket.end()));
}

async function answerTo(line: string, handle: AdminServerOptions["handle"]): Promise<string> {
  try {
    return `${OK} ${await handle(line.trim())}`.trim();
  } catch (error) {
    if (!(error instanceof DlbaError)) throw error;
    return ERROR + describeError(error);
  }
}

export interface AdminQuestion {
  readonly path: string;
  readonly line: string;
  readonly timeout_ms: number;
  /** Whose socket it is, for people; the scheduler's unless told otherwise. */
  readonly process?: string;
}

/**
 * Sends one command and resolves with what stood behind `ok`. Rejects with DlbaError ADMIN_REFUSED (the text of the
 * `error: …` line) or NO_ANSWER (none came in time, or one that is neither), or with the socket's own error.
 */
export function askAdmin({ path, line, timeout_ms, process = "scheduler" }: AdminQuestion): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const noAnswer = (how: string): DlbaError =>
    new DlbaError("NO_ANSWER", `the ${process} process of this node gave no answer ${how}`);
  const socket = createConnection({ path });
  const timer = setTimeout(() => socket.destroy(noAnswer(`within ${timeout_ms} ms`)), timeout_ms);
  const lines = lineReader(
    PUBLISH_LINE_BYTES,
    (answer) => {
      socket.destroy();
      if (answer === OK || answer.startsWith(`${OK} `)) resolve(answer.slice(OK.length + 1));
      else if (answer.startsWith(ERROR)) reject(new DlbaError("ADMIN_REFUSED", answer.slice(ERROR.length)));
      else reject(noAnswer("that makes sense"));
    },
    () => socket.destroy(noAnswer("that ends")),
  );
  socket.on("connect", () => socket.write(`${line}\n`));
  socket.on("data", lines.push);
  socket.on("error", reject);
  socket.on("close", () => {
    clearTimeout(timer);
    reject(noAnswer("before it closed the connection"));
  });
  return promise;
}
