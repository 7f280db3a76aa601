/**
 * What a node's machine must look like: the VIPs on `lo`, and a kernel that neither answers ARP for them nor
 * asks with them (the scheduler's data plane alone speaks for a VIP). IPv6 needs no setting for that: Linux
 * answers neighbour solicitations only for addresses of the interface itself, and asks with one of those.
 *
 * What was changed is recorded in a file, so that `dlba detach` gives the machine back as it was.
 */
import koffi from "koffi";
import { existsSync, readFileSync, renameSync, rmSync, statfsSync, writeFileSync } from "node:fs";
import { networkInterfaces } from "node:os";
import { dirname } from "node:path";
import { parseIp, type Family } from "../conf/address.ts";
import { command } from "./command.ts";

/** What we changed on the machine: addresses added to `lo`, and the former values of kernel settings. */
interface HostRecord {
  readonly vips: readonly string[];
  readonly settings: Readonly<Record<string, string>>;
}

const BPF_FS_MAGIC = 0xcafe4a11;
const SETTINGS = { arp_ignore: "1", arp_announce: "2" } as const;

/**
 * Puts the VIPs on `lo` (those of an earlier configuration leave it) and sets the kernel's ARP behaviour on the
 * interfaces of all segments that the node is on.
 */
export async function prepareHost(
  interfaceNames: readonly string[],
  vips: readonly string[],
  recordFile: string,
): Promise<void> {
  await command("ip", ["link", "set", "dev", "lo", "up"]);
  const record = readRecord(recordFile);
  const present = addressesOf("lo");
  const missing = vips.filter((vip) => !present.has(vip));
  const settings = { ...setArp(interfaceNames), ...loosenLo(), ...record.settings };
  const former = record.vips.filter((vip) => present.has(vip) && !vips.includes(vip));
  const ours = record.vips.filter((vip) => vips.includes(vip) && present.has(vip));
  writeRecord(recordFile, { vips: [...ours, ...missing, ...former], settings });
  for (const vip of missing) await command("ip", ["addr", "add", ...onLo(vip)]);
  for (const vip of former) await command("ip", ["addr", "del", ...onLo(vip)]);
}

/** Takes back what `prepareHost` changed; returns the VIPs that left `lo`. */
export async function restoreHost(recordFile: string): Promise<string[]> {
  const record = readRecord(recordFile);
  const present = addressesOf("lo");
  const ours = record.vips.filter((vip) => present.has(vip));
  for (const vip of ours) await command("ip", ["addr", "del", ...onLo(vip)]);
  for (const [path, value] of Object.entries(record.settings)) {
    if (existsSync(path)) writeFileSync(path, value);
  }
  rmSync(recordFile, { force: true });
  return ours;
}

/** Whole or not at all, whenever the process is killed: a node would not start again with half of one. */
function writeRecord(recordFile: string, record: HostRecord): void {
  const fresh = `${recordFile}.new`;
  writeFileSync(fresh, `${JSON.stringify(record)}\n`);
  renameSync(fresh, recordFile);
}

/** The VIPs that `prepareHost` has put on `lo`, or has found there. */
export const recordedVips = (recordFile: string): readonly string[] => readRecord(recordFile).vips;

function readRecord(recordFile: string): HostRecord {
  if (!existsSync(recordFile)) return { vips: [], settings: {} };
  const record: HostRecord = JSON.parse(readFileSync(recordFile, "utf8"));
  return record;
}

/** Returns the former values of the settings that it changed, by path. */
function setArp(interfaceNames: readonly string[]): Record<string, string> {
  const former: Record<string, string> = {};
  for (const scope of ["all", ...interfaceNames]) {
    for (const [setting, value] of Object.entries(SETTINGS)) {
      const path = `/proc/sys/net/ipv4/conf/${scope}/${setting}`;
      const old = readFileSync(path, "latin1").trim();
      if (old === value) continue;
      former[path] = old;
      writeFileSync(path, value);
    }
  }
  return former;
}

/**
 * A client's fragment that was held back comes in by `lo`, where strict filtering of source addresses (the higher one
 * of `all` and `lo` counts) would drop it; loose filtering does not. Returns as `setArp`.
 */
function loosenLo(): Record<string, string> {
  const valueOf = (scope: string): string => readFileSync(filterPath(scope), "latin1").trim();
  const isStrict = valueOf("all") === "1" || valueOf("lo") === "1";
  if (!isStrict || valueOf("lo") === "2") return {};
  const former = { [filterPath("lo")]: valueOf("lo") };
  writeFileSync(filterPath("lo"), "2");
  return former;
}

const filterPath = (scope: string): string => `/proc/sys/net/ipv4/conf/${scope}/rp_filter`;

function onLo(vip: string): string[] {
  return vip.includes(":") ? [`${vip}/128`, "dev", "lo", "nodad"] : [`${vip}/32`, "dev", "lo"];
}

/** The addresses of an interface, as canonical text. */
function addressesOf(interfaceName: string): Set<string> {
  return new Set((networkInterfaces()[interfaceName] ?? []).map(({ address }) => address));
}

/** The interfaces that are up and have an address. */
export function interfacesWith(address: string): string[] {
  const text = parseIp(address)?.text ?? address;
  return Object.keys(networkInterfaces()).filter((name) => addressesOf(name).has(text));
}

const LINK_LOCAL = /^fe[89ab]/i;

/** Families in which this machine has addresses that it can be reached at from beyond a link, but for those on `lo`. */
export function ownFamilies(): Set<Family> {
  const all = Object.entries(networkInterfaces()).flatMap(([name, list]) =>
    name === "lo" ? [] : (list ?? []),
  );
  return new Set(
    all.flatMap(({ address }) => (LINK_LOCAL.test(address) ? [] : (parseIp(address)?.family ?? []))),
  );
}

/** The network interfaces of the namespace that this process is in, up or not. */
export function interfaceNames(): string[] {
  const lines = readFileSync("/proc/self/net/dev", "latin1").split("\n").slice(2);
  return lines.flatMap((line) => /^\s*(.+?):/.exec(line)?.[1] ?? []);
}

/** Whether a path lies on a mounted BPF file system (it, or its nearest parent that exists). */
export function isOnBpfFileSystem(path: string): boolean {
  let existing = path;
  while (!existsSync(existing)) existing = dirname(existing);
  return statfsSync(existing).type === BPF_FS_MAGIC;
}

/** Whether a shared library can be loaded. */
export function isLibraryPresent(name: string): boolean {
  try {
    koffi.load(name).unload();
    return true;
  } catch {
    return false;
  }
}

/** Numbers of the capabilities that this process has in effect (capability.h). */
export function effectiveCapabilities(): Set<number> {
  const line = /^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync("/proc/self/status", "latin1"));
  const bits = BigInt(`0x${line?.[1] ?? "0"}`);
  return new Set(Array.from({ length: 64 }, (_, i) => i).filter((i) => ((bits >> BigInt(i)) & 1n) === 1n));
}
