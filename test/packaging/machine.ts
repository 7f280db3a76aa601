/**
 * Machines for tests of what is installed: a real systemd on this machine's files, changed only for itself (boot.sh). Several
 * run side by side, each in a network namespace that there is, such as a node's of a lab.
 */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type CommandResult, tryCommand } from "../../net/command.ts";

const BOOT = join(import.meta.dirname, "boot.sh");
const WITHIN_MS = 60_000;
const NAMESPACES = ["--mount", "--pid", "--uts", "--ipc", "--cgroup"];

export interface Machine {
  /** Runs a line of shell as root would in /root, to its end. */
  readonly sh: (line: string) => Promise<CommandResult>;
  /** The same; fails the test with what was said when its exit code is not 0. Resolves with standard output. */
  readonly good: (line: string) => Promise<string>;
  /** Everything on it ends, and what it wrote is gone. */
  readonly off: () => Promise<void>;
}

export interface MachineOptions {
  readonly name: string;
  /** Of `ip netns`. */
  readonly namespace: string;
  /** A folder of this machine that lies as `given` in root's home there. */
  readonly given: string;
}

/** Resolves when its systemd answers. */
export async function bootMachine({ name, namespace, given }: MachineOptions): Promise<Machine> {
  const scratch = mkdtempSync(join(tmpdir(), "dlba-machine-"));
  const unshare = ["unshare", ...NAMESPACES, "--fork", "--kill-child", "sh", BOOT, scratch, name, given];
  const child = spawn("nsenter", [`--net=/run/netns/${namespace}`, "--", ...unshare], {
    stdio: ["ignore", "ignore", "inherit"],
  });
  const off = async (): Promise<void> => {
    // The end of unshare is the end of process 1 of its namespace, and with it of all others.
    child.kill("SIGKILL");
    await ended(child);
    await eventually("its processes to end", async () => (await removed(scratch)) === "");
  };
  try {
    const init = await initOf(child);
    const sh = async (line: string): Promise<CommandResult> =>
      tryCommand("nsenter", [
        "-t",
        String(init),
        "-a",
        "-r",
        "-w",
        "--",
        "env",
        "-i",
        ...ENVIRONMENT,
        "sh",
        "-c",
        `cd /root && ${line}`,
      ]);
    const good = async (line: string): Promise<string> => {
      const { code, stdout, stderr } = await sh(line);
      assert.equal(code, 0, `${name}: ${line}\n${stdout}${stderr}`);
      return stdout;
    };
    await eventually(
      "systemd to answer",
      async () => (await sh("systemctl is-system-running")).stdout.trim() === "running",
    );
    return { sh, good, off };
  } catch (error) {
    await off();
    throw error;
  }
}

const ENVIRONMENT = [
  "HOME=/root",
  "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
  "LC_ALL=C.UTF-8",
  "TERM=dumb",
  "DEBIAN_FRONTEND=noninteractive",
];

/** The process id, as seen from here, of systemd: nsenter becomes unshare, whose only child it is. */
async function initOf(child: ChildProcess): Promise<number> {
  let init = 0;
  await eventually("the machine to boot", () => {
    assert.equal(child.exitCode, null, "the machine does not boot");
    const children = readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, "latin1").trim();
    if (!/^\d+$/.test(children)) return false;
    init = Number(children);
    return readFileSync(`/proc/${init}/comm`, "latin1").trim() === "systemd";
  });
  return init;
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  await new Promise((resolve) => child.once("exit", resolve));
}

/** "" when the scratch folder is gone, else why not: process 1 may still be on its way out. */
async function removed(scratch: string): Promise<string> {
  try {
    rmSync(scratch, { recursive: true, force: true });
    return "";
  } catch (error) {
    return String(error);
  }
}

async function eventually(what: string, isSo: () => boolean | Promise<boolean>): Promise<void> {
  const deadline_ms = performance.now() + WITHIN_MS;
  while (!(await isSo())) {
    assert.ok(performance.now() < deadline_ms, `waited for ${what}`);
    await sleep(20);
  }
}
