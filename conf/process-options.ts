/** The command line that the supervisor starts a node's processes with. */
import { parseArgs } from "node:util";
import { DlbaError } from "./errors.ts";

export interface ProcessOptions {
  /** The array's configuration file. */
  readonly configFile: string;
  /** The name of the node that this process works for. */
  readonly node: string;
  /** Directory on a BPF file system that holds the node's pinned link and maps. */
  readonly pinDir: string;
  /** Directory of the node's Unix sockets. */
  readonly runDir: string;
  /** Directory on a disk, for what has to outlast a restart of the machine. */
  readonly stateDir: string;
  /** Which of several like processes this is. */
  readonly worker: number;
  /** Where the supervisor's snapshot of the configuration is (snapshot.ts); undefined without a supervisor. */
  readonly snapshotFd: number | undefined;
  /** The first of the listening sockets that a worker is given, in the order of `listenersOf`; undefined: it makes its own. */
  readonly listenFd: number | undefined;
  /** The first of those of the worker that this one stands in for; undefined: it stands in for none. */
  readonly otherListenFd: number | undefined;
}

/**
 * Where `otherListenFd` is said: in the environment, since a node may be upgraded and downgraded while its supervisor runs, and
 * processes of another version don't start with options that they don't know.
 */
export const OTHER_LISTEN_FD = "DLBA_OTHER_LISTEN_FD";

/**
 * Reads `--config F --node N --pin-dir D --run-dir D [--state-dir D] [--worker N] [--snapshot-fd N] [--listen-fd N]`.
 * Throws DlbaError OPTIONS_INVALID.
 */
export function processOptions(
  argv: readonly string[],
  env: Readonly<Record<string, string | undefined>> = process.env,
): ProcessOptions {
  let values: Record<string, string | undefined>;
  try {
    const text = { type: "string" } as const;
    ({ values } = parseArgs({
      args: [...argv],
      options: {
        config: text,
        node: text,
        "pin-dir": text,
        "run-dir": text,
        "state-dir": text,
        worker: text,
        "snapshot-fd": text,
        "listen-fd": text,
      },
    }));
  } catch (cause) {
    throw new DlbaError("OPTIONS_INVALID", "the process was started with wrong options", { cause });
  }
  const worker = values["worker"] ?? "0";
  if (!/^\d{1,3}$/.test(worker)) {
    throw new DlbaError("OPTIONS_INVALID", `--worker ${worker} is not a number from 0 to 999`);
  }
  return {
    configFile: required(values, "config"),
    node: required(values, "node"),
    pinDir: required(values, "pin-dir"),
    runDir: required(values, "run-dir"),
    stateDir: values["state-dir"] ?? required(values, "run-dir"),
    worker: Number(worker),
    snapshotFd: descriptor(values, "snapshot-fd"),
    listenFd: descriptor(values, "listen-fd"),
    otherListenFd: descriptor({ "other-listen-fd": env[OTHER_LISTEN_FD] }, "other-listen-fd"),
  };
}

function descriptor(
  values: Readonly<Record<string, string | undefined>>,
  option: string,
): number | undefined {
  const value = values[option];
  if (value === undefined) return undefined;
  if (/^\d{1,7}$/.test(value)) return Number(value);
  throw new DlbaError("OPTIONS_INVALID", `--${option} ${value} is not the number of a descriptor`);
}

function required(values: Readonly<Record<string, string | undefined>>, option: string): string {
  const value = values[option];
  if (value === undefined || value === "") {
    throw new DlbaError("OPTIONS_INVALID", `--${option} is missing`);
  }
  return value;
}
