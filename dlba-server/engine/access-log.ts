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
  let lines: string[] = [];
  let bytes = 0;
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
    if (lines.length === 0) return;
    const [text, count] = [lines.join(""), lines.length];
    lines = [];
    bytes = 0;
    try {
      if (fd !== undefined && !(await isSameFile(file, fd))) {
        // Forgotten before anything else can fail: its number may be somebody else's soon.
        close(fd, () => undefined);
        fd = undefined;
      }
      fd ??= await openFile(file);
      await writeAll(fd, Buffer.from(text, "latin1"));
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
      if (bytes >= ACCESS_LOG_BYTES) {
        dropped++;
        return;
      }
      const line = accessLine(format, access);
      lines.push(line);
      bytes += line.length;
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
