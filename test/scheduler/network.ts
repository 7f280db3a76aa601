/** Network namespaces for the tests: made under names of this process, and taken away whatever happens. */
import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, rmSync } from "node:fs";
import type { TestContext } from "node:test";

export const BPF_FS = "/sys/fs/bpf";
let made = 0;

export function sh(command: string, args: readonly string[]): string {
  return execFileSync(command, args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
}
export const ip = (...words: string[]): string =>
  sh(
    "ip",
    words.flatMap((word) => word.split(" ")),
  );

/** Mounts the BPF file system where no one has yet. */
export function mountBpf(): void {
  const isMounted = sh("stat", ["-f", "-c", "%T", BPF_FS]).trim() === "bpf_fs";
  if (!isMounted) sh("mount", ["-t", "bpf", "bpf", BPF_FS]);
}

/** A name of the test's own, for a namespace or a pin directory. */
export const ownName = (kind: string): string => `dlbat${process.pid}${kind}${made++}`;

/** A new namespace with `lo` up. */
export function namespace(t: TestContext, kind: string): string {
  const name = ownName(kind);
  ip("netns add", name);
  t.after(() => ip("netns del", name));
  ip("-n", name, "link set lo up");
  return name;
}

/** Joins two namespaces by a pair of interfaces with these names and MAC addresses. */
export function cable(a: readonly [string, string, string], b: readonly [string, string, string]): void {
  ip(
    "link add",
    a[1],
    "netns",
    a[0],
    "address",
    a[2],
    "type veth peer name",
    b[1],
    "netns",
    b[0],
    "address",
    b[2],
  );
  ip("-n", a[0], "link set", a[1], "up");
  ip("-n", b[0], "link set", b[1], "up");
}

/** A pin directory that is gone after the test, even when what it holds was not detached. */
export function pinDirectory(t: TestContext): string {
  mountBpf();
  const path = `${BPF_FS}/${ownName("pin")}`;
  t.after(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

export function directory(t: TestContext): string {
  const path = `/tmp/${ownName("run")}`;
  if (!existsSync(path)) mkdirSync(path);
  t.after(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

/** Starts a program of ours in a namespace; it is killed at the test's end. */
export function startIn(t: TestContext, netns: string, args: readonly string[]): ChildProcess {
  const inside = [`--net=/run/netns/${netns}`, process.execPath, ...args];
  const child = spawn("nsenter", inside, { stdio: ["ignore", "pipe", "pipe"] });
  t.after(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill("SIGKILL");
    await once(child, "exit");
  });
  return child;
}

/** Waits until something holds; the time is generous, as the machine may be busy. */
export async function until(
  what: string,
  holds: () => boolean | Promise<boolean>,
  timeout_ms = 60_000,
): Promise<void> {
  const end = Date.now() + timeout_ms;
  while (!(await holds())) {
    if (Date.now() > end) throw new Error(`not within ${timeout_ms} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
