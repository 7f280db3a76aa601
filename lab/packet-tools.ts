/** Runs what sends frames of its own making (syn-flood.ts, datagrams.ts) on the lab's client. */
import { join } from "node:path";
import { cidrContains, parseCidr, parseIp } from "../conf/address.ts";
import { DlbaError } from "../conf/errors.ts";
import { labExec } from "./lab.ts";
import { hostNamed } from "./planned-host.ts";
import { labSchedulerSoon } from "./scheduler.ts";
import type { LabHost, LabState } from "./state.ts";
import { runIn } from "./topology.ts";

/** Where frames go out, and to which MAC address: the scheduler's. */
interface Way {
  readonly interface: string;
  readonly source_mac: string;
  readonly target_mac: string;
  readonly vip: string;
  readonly port: number;
}
export interface Flood {
  readonly count: number;
  readonly seed: number;
  /** Left out: as fast as it can. With it, frames follow the VIP to the MAC address that the client knows by ARP. */
  readonly per_second?: number;
}
export type FloodOrder = Way & Flood;
export interface FloodResult {
  readonly sent: number;
  /** Frames that the kernel did not take at once. */
  readonly refused: number;
  readonly took_ms: number;
  readonly per_second: number;
}

export interface DatagramOrder {
  readonly payload_bytes: number;
  /** By the kernel, or made here and sent in this order. */
  readonly fragments: "kernel" | "in-order" | "reversed";
}
export interface DatagramsOrder extends Way {
  readonly source: string;
  readonly datagrams: readonly DatagramOrder[];
  readonly answer_within_ms: number;
}
export interface DatagramResult extends DatagramOrder {
  /** Who answered; "" when nobody did in time. */
  readonly host: string;
  /** Whether the answer has the datagram's length and hash. */
  readonly is_right: boolean;
}

const SOURCES = "10.0.0.0/8";

async function wayTo(state: LabState, client: LabHost, vip: string, port: number): Promise<Way> {
  const { mac } = hostNamed(state.hosts, await labSchedulerSoon(state.name));
  return { interface: client.interface, source_mac: client.mac, target_mac: mac, vip, port };
}

async function runProgram(state: LabState, program: string, order: object): Promise<string> {
  const argv = [process.execPath, join(import.meta.dirname, program), JSON.stringify(order)];
  const { code, stdout, stderr } = await labExec(state.name, "client", argv);
  if (code === 0) return stdout;
  throw new DlbaError("COMMAND_FAILED", `${program} failed (${code}): ${stderr.trim()}`);
}

/**
 * Sends `count` SYNs from random addresses of 10.0.0.0/8 to a port of an IPv4 VIP. These addresses are routed to the
 * client from then on, which drops what is not for itself: else each answer would begin with a question for a MAC
 * address, and the neighbour tables would break before anything that is meant; half-open connections are answered for
 * another minute. Throws DlbaError LAB_IMPOSSIBLE when a host of the lab has such an address.
 */
export async function synFlood(
  state: LabState,
  vip: string,
  port: number,
  flood: Flood,
): Promise<FloodResult> {
  const sources = parseCidr(SOURCES);
  const isSource = (address: string): boolean => {
    const ip = parseIp(address);
    return sources !== undefined && ip !== undefined && cidrContains(sources, ip);
  };
  if (state.hosts.some(({ addresses }) => addresses.some(isSource)) || state.vips.some(isSource)) {
    throw new DlbaError("LAB_IMPOSSIBLE", `a host of the lab has an address of ${SOURCES}, as the flood has`);
  }
  const client = hostNamed(state.hosts, "client");
  const gateway = client.addresses.find((address) => !address.includes(":")) ?? "";
  const answering = state.hosts.filter(({ kind }) => kind === "node" || kind === "host");
  const route = [SOURCES, "via", gateway];
  for (const host of answering) {
    await runIn(host.namespace, ["ip", "route", "replace", ...route, "dev", host.interface, "onlink"]);
  }
  const order: FloodOrder = { ...(await wayTo(state, client, vip, port)), ...flood };
  const result: FloodResult = JSON.parse(await runProgram(state, "syn-flood.ts", order));
  return result;
}

const ANSWER_WITHIN_MS = 3000;

/** Sends UDP datagrams from the client to a port of a VIP, one after the other. */
export async function sendDatagrams(
  state: LabState,
  vip: string,
  port: number,
  datagrams: readonly DatagramOrder[],
): Promise<DatagramResult[]> {
  const client = hostNamed(state.hosts, "client");
  const source = client.addresses.find((address) => address.includes(":") === vip.includes(":")) ?? "";
  const order: DatagramsOrder = {
    ...(await wayTo(state, client, vip, port)),
    source,
    datagrams,
    answer_within_ms: ANSWER_WITHIN_MS,
  };
  const results: DatagramResult[] = JSON.parse(await runProgram(state, "datagrams.ts", order));
  return results;
}
