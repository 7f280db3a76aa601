/**
 * The read-only monitoring socket, in HAProxy's dialect: one line of commands parted by ';', an empty line after
 * each answer, and the connection closed after the line unless `prompt` asked to keep it.
 */
import type { Socket } from "node:net";
import { describeError, DlbaError } from "../conf/errors.ts";
import {
  ADMISSION_MS,
  MONITOR_COMMAND_BYTES,
  MONITOR_CONNECTIONS,
  MONITOR_IDLE_MOST_MS,
} from "../conf/limits.ts";
import { lineReader } from "../net/lines.ts";
import type { Admits } from "./access.ts";
import type { Logger } from "./log.ts";
import { listenUnix, type UnixServer } from "../net/unix-server.ts";

export interface MonitorOptions {
  /** Answers one command in pieces; a DlbaError becomes an `error: …` line. */
  readonly answer: (command: string) => Promise<Iterable<string>>;
  /** How long a connection may say nothing. */
  readonly idle_ms: number;
  /** How long the reader of an answer may take. */
  readonly answer_ms: number;
  readonly log: Logger;
  /** Who has to say a token first (`token …`) is let in by this. */
  readonly admits?: Admits;
}

interface Session {
  readonly socket: Socket;
  readonly options: MonitorOptions;
  isAdmitted: boolean;
  isInteractive: boolean;
  hasEnded: boolean;
  /** Lines that came while an answer was under way; bounded by pausing the socket. */
  readonly waiting: string[];
  isBusy: boolean;
  /** When the kernel last took something of its answer, or it began. */
  progress_ms: number;
}

/** Who takes nothing of an answer for this long gives way to somebody new when all places are taken. */
const STALLED_MS = 1000;

/** One more than there are places has a look in: it may take that of one who stalls. */
export const MONITOR_SOCKETS = MONITOR_CONNECTIONS + 1;

/** Listens on a Unix socket until closed; who may open it is let in. */
export function monitor(options: MonitorOptions & { readonly path: string }): Promise<UnixServer> {
  const take = monitorSessions(options);
  return listenUnix({
    path: options.path,
    mode: 0o660,
    connections: MONITOR_SOCKETS,
    onConnection: (socket) => take(socket, true),
  });
}

/** What serves connections, wherever they come from; who is not admitted has to say the token first. */
export function monitorSessions(options: MonitorOptions): (socket: Socket, isAdmitted: boolean) => void {
  const sessions = new Set<Session>();
  return (socket, isAdmitted) => {
    if (sessions.size < MONITOR_CONNECTIONS || makeRoom(sessions))
      serve(socket, isAdmitted, options, sessions);
    else socket.destroy();
  };
}

/** Cuts off who has taken nothing of its answer for the longest time; false when everybody takes theirs. */
function makeRoom(sessions: Set<Session>): boolean {
  const busy = [...sessions].filter(({ isBusy }) => isBusy);
  const [slowest] = busy.toSorted((one, other) => one.progress_ms - other.progress_ms);
  if (slowest === undefined || performance.now() - slowest.progress_ms < STALLED_MS) return false;
  slowest.socket.destroy();
  return sessions.delete(slowest);
}

function serve(socket: Socket, isAdmitted: boolean, options: MonitorOptions, sessions: Set<Session>): void {
  const session: Session = {
    socket,
    options,
    isAdmitted,
    isInteractive: false,
    hasEnded: false,
    waiting: [],
    isBusy: false,
    progress_ms: performance.now(),
  };
  sessions.add(session);
  socket.once("close", () => sessions.delete(session));
  const lines = lineReader(
    MONITOR_COMMAND_BYTES,
    (line) => {
      session.waiting.push(line);
      socket.pause();
    },
    () => socket.end(`error: a line is longer than ${MONITOR_COMMAND_BYTES} bytes\n\n`),
  );
  socket.setTimeout(options.idle_ms, () => socket.destroy());
  if (!isAdmitted) {
    // However little and often it sends.
    const late = setTimeout(() => session.isAdmitted || socket.destroy(), ADMISSION_MS);
    socket.once("close", () => clearTimeout(late));
  }
  socket.on("data", (bytes) => {
    lines.push(bytes);
    void work(session);
  });
  socket.on("end", () => {
    session.hasEnded = true;
    if (!session.isBusy) socket.end();
  });
}

/** Handles the lines that wait, one after the other; no more is read meanwhile. */
async function work(session: Session): Promise<void> {
  if (session.isBusy) return;
  session.isBusy = true;
  session.progress_ms = performance.now();
  try {
    let line = session.waiting.shift();
    while (line !== undefined && session.socket.writable) {
      await handleLine(session, line);
      line = session.waiting.shift();
    }
  } catch (error) {
    session.options.log.error({ reason: describeError(error) }, "a monitoring command failed");
    session.socket.destroy();
  }
  session.isBusy = false;
  if (session.hasEnded) session.socket.end();
  else session.socket.resume();
}

async function handleLine(session: Session, line: string): Promise<void> {
  const { socket } = session;
  const commands = line.split(";").map((part) => part.trim());
  if (!session.isAdmitted && commands[0] !== "quit") {
    const refusal = "error: say 'token …' with the right token first\n\n";
    if (!admit(session, commands.shift() ?? "")) return void socket.end(refusal);
    // Alone on its line it lets the next line come.
    if (commands.length === 0) return;
  }
  for (const command of commands) {
    if (command === "quit") return void socket.end();
    const timeout_s = /^set timeout cli (\d{1,6})s?$/.exec(command)?.[1];
    if (command === "prompt") session.isInteractive = true;
    else if (timeout_s !== undefined) await setTimeOut(session, Number(timeout_s));
    else if (command !== "") await answer(session, command);
    if (!socket.writable) return;
  }
  if (session.isInteractive) socket.write("> ");
  else socket.end();
}

/** A good token is answered with nothing, so that what follows on its line is as on the Unix socket. */
function admit(session: Session, command: string): boolean {
  const token = /^token (\S+)$/.exec(command)?.[1];
  session.isAdmitted = token !== undefined && session.options.admits?.(token) === true;
  return session.isAdmitted;
}

/** How long this connection may say nothing, in seconds; bounded. */
async function setTimeOut(session: Session, timeout_s: number): Promise<void> {
  session.socket.setTimeout(Math.min(Math.max(timeout_s, 1) * 1000, MONITOR_IDLE_MOST_MS));
  await send(session, "\n");
}

async function answer(session: Session, command: string): Promise<void> {
  const { socket, options } = session;
  const deadline = setTimeout(() => socket.destroy(), options.answer_ms);
  try {
    for (const piece of await piecesOf(options, command)) if (!(await send(session, piece))) return;
    await send(session, "\n");
  } finally {
    clearTimeout(deadline);
  }
}

async function piecesOf(options: MonitorOptions, command: string): Promise<Iterable<string>> {
  try {
    return await options.answer(command);
  } catch (error) {
    if (!(error instanceof DlbaError)) throw error;
    return [`error: ${describeError(error).replaceAll(/\s*\n\s*/g, " ")}\n`];
  }
}

/** Writes, and waits for a slow reader. False when it is gone. */
async function send(session: Session, piece: string): Promise<boolean> {
  const { socket } = session;
  if (!socket.writable) return false;
  const isTaken = socket.write(piece);
  if (!isTaken) await drained(socket);
  session.progress_ms = performance.now();
  return socket.writable;
}

/** Until the socket has room again, or is gone. */
function drained(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    const settle = (): void => {
      socket.off("drain", settle).off("close", settle);
      resolve();
    };
    socket.on("drain", settle).on("close", settle);
  });
}
