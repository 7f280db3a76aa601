/**
 * What a node says to the service manager that started it, if one did: that it is ready, what it is at, that it still lives
 * (the watchdog), how long its end takes, and which process leads it from now on. By hand or in a container nobody listens.
 */
import { describeError } from "../conf/errors.ts";
import { tellServiceManager } from "../net/service-socket.ts";
import type { Logger } from "../status/log.ts";

export interface ServiceManager {
  /** Whether there is one. */
  readonly isThere: boolean;
  /** What a process that is to lead the node has to find in its environment. */
  readonly environment: Readonly<Record<string, string>>;
  /** The node serves. From now on the manager hears that it lives. */
  readonly ready: (status: string) => void;
  readonly status: (status: string) => void;
  /** The node ends, which takes this time at most. */
  readonly stopping: (within_ms: number) => void;
  /** Another process leads the node from now on, and is the one that is heard. */
  readonly leader: (pid: number) => void;
}

export interface ServiceFacts {
  readonly socket: string | undefined;
  /** Within this time the manager wants to hear that we live; undefined: it does not. */
  readonly watchdog_ms: number | undefined;
}

/** Reads what the manager has put into the environment of a process (sd_notify(3), sd_watchdog_enabled(3)). Pure. */
export function serviceFacts(env: Readonly<Record<string, string | undefined>>, pid: number): ServiceFacts {
  const socket = env["NOTIFY_SOCKET"];
  const isUsable = socket !== undefined && /^[/@]./.test(socket);
  if (!isUsable) return { socket: undefined, watchdog_ms: undefined };
  const watchdog_us = Number(env["WATCHDOG_USEC"] ?? Number.NaN);
  const isOurs = env["WATCHDOG_PID"] === undefined || env["WATCHDOG_PID"] === String(pid);
  const isOn = isOurs && Number.isSafeInteger(watchdog_us) && watchdog_us > 0;
  return { socket, watchdog_ms: isOn ? watchdog_us / 1000 : undefined };
}

/** As often as it may be missed once, and a second time by half. */
const PER_WATCHDOG = 2.5;
const LEAST_PAUSE_MS = 10;

/** The manager of this process; its variables leave the environment, as they are not for the processes that we start. */
export function serviceManager(log: Logger): ServiceManager {
  const { socket, watchdog_ms } = serviceFacts(process.env, process.pid);
  const environment: Record<string, string> = {};
  for (const name of ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"]) {
    const value = process.env[name];
    // The watchdog's process id is ours, and it will be another one then.
    if (value !== undefined && name !== "WATCHDOG_PID") environment[name] = value;
    delete process.env[name];
  }
  let watching: NodeJS.Timeout | undefined;
  let isSilent = false;
  const tell = (...lines: string[]): void => {
    if (socket === undefined) return;
    try {
      tellServiceManager(socket, lines);
      isSilent = false;
    } catch (error) {
      // A manager that is busy is told again by the next one; it is said once.
      if (!isSilent) log.warn({ reason: describeError(error) }, "the service manager can't be told");
      isSilent = true;
    }
  };
  return {
    isThere: socket !== undefined,
    environment,
    ready: (status) => {
      tell("READY=1", statusLine(status));
      if (watchdog_ms === undefined) return;
      const pause_ms = Math.max(LEAST_PAUSE_MS, watchdog_ms / PER_WATCHDOG);
      watching ??= setInterval(() => tell("WATCHDOG=1"), pause_ms).unref();
    },
    status: (status) => tell(statusLine(status)),
    stopping: (within_ms) => {
      tell("STOPPING=1", `EXTEND_TIMEOUT_USEC=${Math.ceil(within_ms) * 1000}`, statusLine("stopping"));
    },
    leader: (pid) => {
      clearInterval(watching);
      tell(`MAINPID=${pid}`);
    },
  };
}

const statusLine = (status: string): string => `STATUS=${status.replaceAll(/[\n\r]+/g, " ")}`;
