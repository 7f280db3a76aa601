/**
 * The access log's file: lines are gathered and written by Node's helper threads, so no request waits for a disk. A disk
 * that is slow or full costs lines, which are counted, and nothing else. A file that was moved away is opened anew.
 */
import { close, constants, fstat, open, stat, write } from "node:fs";
import { ACCESS_LOG_BYTES, ACCESS_LOG_WRITE_MS } from "../../conf/limits.ts";
import { describeError } from "../../conf/errors.ts";
import { type Access, accessLine, type AccessLogFormat } from "../access-line.ts";

export interface AccessLog {
  /** A request is over. */
  note(access: Access): void;
  /** Lines that could not be kept, ever. */
  dropped(): number;
  /** Writes what is left; no more comes. */
  close(): Promise<void>;
}
interface Settings {
  readonly file: string;
  readonly format: AccessLogFormat;
}

/** What there is to say about the log itself. */
interface Complaints {
  warn(fields: object, text: string): void;
  info(fields: object, text: string): void;
}

const HOW = constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT;
const MODE = 0o640;

/** Begins to write; the file is made when the first line comes. */
export function openAccessLog({ file, format }: Settings, log: Complaints): AccessLog {
  const lines = createLineBuffer();
  let dropped = 0;
  let complaint = "";
  let fd: number | undefined;
  let writing = Promise.resolve();
  let isWriting = false;

  const complain = (error: unknown): void => {
    const reason = describeError(error);
    if (reason !== complaint) log.warn({ file, reason }, "the access log can't be written: lines are lost");
    complaint = reason;
  };
  const flush = async (): Promise<void> => {
    const { pieces, count } = takeLines(lines);
    if (count === 0) return;
    try {
      if (fd !== undefined && !(await isSameFile(file, fd))) {
        // Forgotten before anything else can fail: its number may be somebody else's soon.
        close(fd, () => undefined);
        fd = undefined;
      }
      fd ??= await openFile(file);
      for (const piece of pieces) await writeAll(fd, piece);
      if (complaint !== "") log.info({ file }, "the access log is written again");
      complaint = "";
    } catch (error) {
      dropped += count;
      complain(error);
    }
  };
  const next = (): Promise<void> => {
    if (isWriting) return writing;
    isWriting = true;
    writing = flush().finally(() => (isWriting = false));
    return writing;
  };
  const timer = setInterval(() => void next(), ACCESS_LOG_WRITE_MS).unref();
  return {
    note: (access) => {
      if (lines.bytes >= ACCESS_LOG_BYTES) dropped++;
      else addLine(lines, accessLine(format, access));
    },
    dropped: () => dropped,
    close: async () => {
      clearInterval(timer);
      await next();
      await next();
      if (fd !== undefined) close(fd, () => undefined);
    },
  };
}

/**
 * Lines that wait for the disk, as bytes: kept as strings each would hold on to its request's head, and the garbage collector
 * would carry all of them along (measured: 4 % of a small request's CPU time).
 */
interface LineBuffer {
  readonly full: Buffer[];
  piece: Buffer;
  used: number;
  /** Of all pieces. */
  bytes: number;
  count: number;
}

const PIECE_BYTES = 65_536;

const createLineBuffer = (): LineBuffer => ({
  full: [],
  piece: Buffer.allocUnsafeSlow(PIECE_BYTES),
  used: 0,
  bytes: 0,
  count: 0,
});

function addLine(lines: LineBuffer, line: string): void {
  if (lines.used + line.length > lines.piece.length) nextPiece(lines, line.length);
  lines.used += lines.piece.latin1Write(line, lines.used);
  lines.bytes += line.length;
  lines.count++;
}

function nextPiece(lines: LineBuffer, least_bytes: number): void {
  if (lines.used > 0) lines.full.push(lines.piece.subarray(0, lines.used));
  lines.piece = Buffer.allocUnsafeSlow(Math.max(PIECE_BYTES, least_bytes));
  lines.used = 0;
}

/** Takes all lines out. */
function takeLines(lines: LineBuffer): { pieces: Buffer[]; count: number } {
  const { count } = lines;
  if (count > 0) nextPiece(lines, 0);
  lines.bytes = 0;
  lines.count = 0;
  return { pieces: lines.full.splice(0), count };
}

function openFile(file: string): Promise<number> {
  return new Promise((resolve, reject) => {
    open(file, HOW, MODE, (error, opened) => (error === null ? resolve(opened) : reject(error)));
  });
}

/** Whether the file that has this name now is the open one: a log that was rotated is left to who did it. */
function isSameFile(file: string, fd: number): Promise<boolean> {
  return new Promise((resolve) => {
    stat(file, (error, named) => {
      if (error !== null) return resolve(false);
      fstat(fd, (error, held) => resolve(error === null && held.ino === named.ino && held.dev === named.dev));
    });
  });
}

/** A write may take less than all. */
async function writeAll(fd: number, bytes: Buffer): Promise<void> {
  for (let at = 0; at < bytes.length;) {
    at += await new Promise<number>((resolve, reject) => {
      write(fd, bytes, at, bytes.length - at, null, (error, count) =>
        error === null ? resolve(count) : reject(error),
      );
    });
  }
}
