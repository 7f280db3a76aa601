/**
 * What array `dlba init` writes down: what was asked for, and where nothing was said what this machine suggests. What can't be
 * guessed without harm (the VIP, the web servers) has to be said. Pure.
 */
import { cidrContains, parseCidr, parseIp } from "../../conf/address.ts";
import { DlbaError } from "../../conf/errors.ts";
import { listOf } from "../../conf/suggest.ts";
import type { LocalInterface, Machine } from "./machine.ts";

/** The options, as they were given. */
export interface Wishes {
  readonly name: string;
  readonly vip: readonly string[];
  readonly interface?: string;
  /** NAME=ADDRESS, or NAME=ADDRESS@INTERFACE. */
  readonly node: readonly string[];
  /** ADDRESS, ADDRESS:PORT or [ADDRESS]:PORT. */
  readonly webServer: readonly string[];
  readonly certificate?: string;
  readonly privateKey?: string;
  readonly keyFile: string;
}

export interface PlannedNode {
  readonly name: string;
  readonly address: string;
  readonly interface: string;
}
export interface PlannedServer {
  readonly address: string;
  readonly port: number;
}
export interface Plan {
  readonly name: string;
  readonly keyFile: string;
  readonly vips: readonly string[];
  readonly nodes: readonly PlannedNode[];
  readonly webServers: readonly PlannedServer[];
  readonly certificate: { readonly file: string; readonly key: string } | undefined;
  /** Which of the nodes this machine is; undefined when it is none. */
  readonly self: string | undefined;
  /** What was guessed, and what looks odd: for the operator to read. */
  readonly notes: readonly string[];
}

const NAME = /^[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?$/;

/** Throws DlbaError USAGE, which names everything that is missing or wrong. */
export function planArray(wishes: Wishes, machine: Machine): Plan {
  const wrong: string[] = [];
  const notes: string[] = [];
  const chosen = chooseInterface(wishes, machine, wrong, notes);
  const nodes =
    wishes.node.length > 0
      ? wishes.node.flatMap((text) => readNode(text, chosen, wrong))
      : thisMachine(machine, chosen, wrong, notes);
  const webServers = wishes.webServer.flatMap((text) => readServer(text, wrong));
  checkVips(wishes.vip, machine, chosen, wrong);
  if (wishes.webServer.length === 0) {
    wrong.push("--web-server ADDRESS:PORT is missing: who answers the requests; may be given several times");
  }
  if ((wishes.certificate === undefined) !== (wishes.privateKey === undefined)) {
    wrong.push("--certificate and --private-key go together");
  }
  if (wrong.length > 0) throw new DlbaError("USAGE", wrong.join("\ndlba: "));
  const self = nodes.find(({ address }) => ownerOf(machine, address) !== undefined)?.name;
  if (self === undefined) notes.push("none of the nodes has an address of this machine");
  if (nodes.length === 1) notes.push("an array of one node: name all of them by --node, or add more later");
  return {
    name: wishes.name,
    keyFile: wishes.keyFile,
    vips: wishes.vip,
    nodes,
    webServers,
    certificate:
      wishes.certificate === undefined
        ? undefined
        : { file: wishes.certificate, key: wishes.privateKey ?? "" },
    self,
    notes: [...notes, ...strangers(wishes.vip, nodes, machine, chosen)],
  };
}

/** The interface on the array's segment: the one that was said, the one of the node's address, of the default route, or the only one. */
function chooseInterface(wishes: Wishes, machine: Machine, wrong: string[], notes: string[]): string {
  const { interfaces, defaultInterface } = machine;
  const names = interfaces.map(({ name }) => name);
  if (wishes.interface !== undefined) {
    if (wishes.node.length === 0 && !names.includes(wishes.interface)) {
      wrong.push(`--interface ${wishes.interface} has no address on this machine; there ${haveText(names)}`);
    }
    return wishes.interface;
  }
  const addresses = wishes.node.map((text) => /=([^@]*)/.exec(text)?.[1] ?? "");
  const ours = addresses.map((address) => ownerOf(machine, address)?.name).find((name) => name !== undefined);
  const guess = ours ?? defaultInterface ?? (names.length === 1 ? names[0] : undefined);
  if (guess !== undefined) {
    const why = ours !== undefined ? "it has a node's address" : "the one that leads out of here";
    notes.push(`interface ${guess} (${why}): if it is another one, say --interface`);
    return guess;
  }
  // Every node that names its own needs no guess.
  if (wishes.node.length === 0 || wishes.node.some((text) => !text.includes("@"))) {
    wrong.push(`--interface NAME is missing, on the array's segment; there ${haveText(names)}`);
  }
  return "";
}

const haveText = (names: readonly string[]): string =>
  names.length === 0 ? "is none with an address" : `is ${listOf(names, "or")}`;

const ownerOf = (machine: Machine, address: string): LocalInterface | undefined =>
  machine.interfaces.find(({ addresses }) => addresses.some((own) => own.address === address));

function readNode(text: string, chosen: string, wrong: string[]): PlannedNode[] {
  const [, name = "", address = "", own] = /^([^=]*)=([^@]*)(?:@(.*))?$/.exec(text) ?? [];
  if (NAME.test(name) && parseIp(address) !== undefined) {
    return [{ name, address, interface: own ?? chosen }];
  }
  wrong.push(`--node ${text} is not NAME=ADDRESS, such as node2=192.0.2.12 (or node2=192.0.2.12@eth1)`);
  return [];
}

function thisMachine(machine: Machine, chosen: string, wrong: string[], notes: string[]): PlannedNode[] {
  const address = machine.interfaces.find(({ name }) => name === chosen)?.addresses[0]?.address;
  if (address === undefined) {
    // What is wrong with the interface has been said.
    if (wrong.length === 0) {
      wrong.push(`--node NAME=ADDRESS is missing: ${chosen} has no address on this machine`);
    }
    return [];
  }
  const label = (machine.hostname.split(".")[0] ?? "").replaceAll(/[^A-Za-z0-9-]/g, "-");
  const name = NAME.test(label) ? label : "node1";
  notes.push(`node ${name} is this machine, at ${address}`);
  return [{ name, address, interface: chosen }];
}

function readServer(text: string, wrong: string[]): PlannedServer[] {
  const [, bracketed, plain, digits] = /^(?:\[([^\]]*)\]|([^:]*))(?::(\d+))?$/.exec(text) ?? [];
  const address = parseIp(text) === undefined ? (bracketed ?? plain ?? "") : text;
  const port = parseIp(text) === undefined && digits !== undefined ? Number(digits) : 80;
  if (parseIp(address) !== undefined && port >= 1 && port <= 65_535) return [{ address, port }];
  const form = "ADDRESS:PORT, such as 192.0.2.21:8080 or [2001:db8::21]:8080";
  wrong.push(`--web-server ${text} is not ${form}`);
  return [];
}

function checkVips(vips: readonly string[], machine: Machine, chosen: string, wrong: string[]): void {
  if (vips.length === 0) {
    const segments = segmentsOf(machine, chosen);
    const where = segments.length === 0 ? "" : ` of ${listOf(segments, "or")}`;
    wrong.push(`--vip ADDRESS is missing: an address${where} that no machine has, for the clients to use`);
  }
  for (const vip of vips) {
    if (parseIp(vip) === undefined) wrong.push(`--vip ${vip} is not an IPv4 or IPv6 address`);
    const owner = ownerOf(machine, vip);
    if (owner !== undefined) {
      wrong.push(`--vip ${vip} is this machine's own address on ${owner.name}: take one that no machine has`);
    }
  }
}

const segmentsOf = (machine: Machine, name: string): string[] =>
  (machine.interfaces.find((each) => each.name === name)?.addresses ?? []).map(({ cidr }) => cidr);

/** Addresses that are not on the segment of the interface. */
function strangers(
  vips: readonly string[],
  nodes: readonly PlannedNode[],
  machine: Machine,
  chosen: string,
): string[] {
  const segments = segmentsOf(machine, chosen).flatMap((cidr) => parseCidr(cidr) ?? []);
  const isStranger = (text: string): boolean => {
    const address = parseIp(text);
    const alike = segments.filter((segment) => segment.address.family === address?.family);
    return address !== undefined && alike.length > 0 && !alike.some((each) => cidrContains(each, address));
  };
  const named = [
    ...vips.map((vip) => ({ what: `VIP ${vip}`, address: vip })),
    ...nodes.map(({ name, address }) => ({ what: `node ${name} (${address})`, address })),
  ];
  return named
    .filter(({ address }) => isStranger(address))
    .map(
      ({ what }) => `${what} is not on the segment of ${chosen} (${segmentsOf(machine, chosen).join(", ")})`,
    );
}
