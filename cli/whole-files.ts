/**
 * Files that are there as a whole or not at all, whenever the process is killed or the machine loses power: they are written
 * aside, brought to the disk, and only then get their name. New ones belong to who owns their directory.
 */
import {
  closeSync,
  fchmodSync,
  fchownSync,
  fsyncSync,
  linkSync,
  openSync,
  readdirSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import { DlbaError } from "../conf/errors.ts";

type Content = string | Buffer;

/** Makes a file that must not be there yet. Throws DlbaError FILE_EXISTS, or FILE_UNWRITABLE; then nothing has been made. */
export function createFile(path: string, content: Content, mode: number): void {
  told(path, () => place(path, content, mode, statSync(dirname(path)), linkSync));
}

/**
 * Gives a file another content. One that is there keeps its owner and mode, and a link still leads to it. Throws DlbaError
 * FILE_UNWRITABLE; then it is as it was.
 */
export function replaceFile(path: string, content: Content, mode: number): void {
  told(path, () => {
    const there = statSync(path, { throwIfNoEntry: false });
    if (there === undefined) place(path, content, mode, statSync(dirname(path)), renameSync);
    else place(realpathSync(path), content, there.mode & 0o7777, there, renameSync);
  });
}

function told(path: string, write: () => void): void {
  try {
    write();
  } catch (cause) {
    if (cause instanceof Error && "code" in cause && cause.code === "EEXIST") {
      throw new DlbaError("FILE_EXISTS", `${path} is there already, and is left as it is`);
    }
    throw new DlbaError("FILE_UNWRITABLE", `${path} can't be written`, { cause });
  }
}

interface Owner {
  readonly uid: number;
  readonly gid: number;
}

function place(
  path: string,
  content: Content,
  mode: number,
  owner: Owner,
  name: (aside: string, path: string) => void,
): void {
  const directory = dirname(path);
  const aside = join(directory, `.${basename(path)}.new-${process.pid}`);
  removeLeftOver(directory, basename(path));
  const directoryFd = openSync(directory, "r");
  try {
    writeAside(aside, content, mode, owner);
    name(aside, path);
    fsyncSync(directoryFd);
  } finally {
    rmSync(aside, { force: true });
    closeSync(directoryFd);
  }
}

/** Nobody but its owner can read it before it has the mode that it is to have. */
function writeAside(aside: string, content: Content, mode: number, { uid, gid }: Owner): void {
  const fd = openSync(aside, "wx", 0o600);
  try {
    if (process.geteuid?.() === 0) fchownSync(fd, uid, gid);
    writeFileSync(fd, content);
    fchmodSync(fd, mode);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

/** What killed processes were writing: it may hold a secret. */
function removeLeftOver(directory: string, name: string): void {
  const start = `.${name}.new-`;
  for (const found of readdirSync(directory)) {
    const pid = found.startsWith(start) ? found.slice(start.length) : "";
    if (/^\d+$/.test(pid) && !isRunning(Number(pid))) rmSync(join(directory, found), { force: true });
  }
}

function isRunning(pid: number): boolean {
  if (pid === process.pid) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error instanceof Error && "code" in error && error.code === "EPERM";
  }
}
