/**
 * The read-only monitoring socket, in HAProxy's dialect: one line of commands parted by ';', an empty line after
 * each answer, and the connection closed after the line unless `prompt` asked to keep it.
 */
import type { Socket } from "node:net";
import { describeError, DlbaError } from "../conf/errors.ts";
import { MONITOR_COMMAND_BYTES, MONITOR_CONNECTIONS, MONITOR_IDLE_MOST_MS } from "../conf/limits.ts";
import { lineReader } from "../net/lines.ts";
import type { Logger } from "./log.ts";
import { listenUnix, type UnixServer } from "../net/unix-server.ts";

export interface MonitorOptions {
  readonly path: string;
  /** Answers one command in pieces; a DlbaError becomes an `error: …` line. */
  readonly answer: (command: string) => Promise<Iterable<string>>;
  /** How long a connection may say nothing. */
  readonly idle_ms: number;
  /** How long the reader of an answer may take. */
  readonly answer_ms: number;
  readonly log: Logger;
}

interface Session {
  readonly socket: Socket;
  readonly options: MonitorOptions;
  isInteractive: boolean;
  hasEnded: boolean;
  /** Lines that came while an answer was under way; bounded by pausing the socket. */
  readonly waiting: string[];
  isBusy: boolean;
}

/** Listens until closed. */
export function monitor(options: MonitorOptions): Promise<UnixServer> {
  return listenUnix({
    path: options.path,
    mode: 0o660,
    connections: MONITOR_CONNECTIONS,
    onConnection: (socket) => serve(socket, options),
  });
}

function serve(socket: Socket, options: MonitorOptions): void {
  const session: Session = {
    socket,
    options,
    isInteractive: false,
    hasEnded: false,
    waiting: [],
    isBusy: false,
  };
  const lines = lineReader(
    MONITOR_COMMAND_BYTES,
    (line) => {
      session.waiting.push(line);
      socket.pause();
    },
    () => socket.end(`error: a line is longer than ${MONITOR_COMMAND_BYTES} bytes\n\n`),
  );
  socket.setTimeout(options.idle_ms, () => socket.destroy());
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
  for (const command of line.split(";").map((part) => part.trim())) {
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

/** How long this connection may say nothing, in seconds; bounded. */
async function setTimeOut({ socket }: Session, timeout_s: number): Promise<void> {
  socket.setTimeout(Math.min(Math.max(timeout_s, 1) * 1000, MONITOR_IDLE_MOST_MS));
  await send(socket, "\n");
}

async function answer({ socket, options }: Session, command: string): Promise<void> {
  const deadline = setTimeout(() => socket.destroy(), options.answer_ms);
  try {
    for (const piece of await piecesOf(options, command)) if (!(await send(socket, piece))) return;
    await send(socket, "\n");
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
async function send(socket: Socket, piece: string): Promise<boolean> {
  if (!socket.writable) return false;
  if (socket.write(piece)) return true;
  await drained(socket);
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
