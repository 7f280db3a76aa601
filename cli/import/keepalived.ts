/** What a keepalived.conf says that an array needs: VIPs, the interface, the machines. Pure. */
import { isIP } from "node:net";
import { parseIp } from "../../conf/address.ts";
import { nameFor, wordsOf } from "./haproxy-lines.ts";
import { type Ledger, type Line, openLedger } from "./notes.ts";

export interface Keepalived {
  readonly vips: readonly string[];
  readonly interface: string | undefined;
  /** This machine's address first, then its peers'; empty when they are not named. */
  readonly addresses: readonly string[];
  readonly name: string | undefined;
  readonly ledger: Ledger;
}

/** A line, and what stands in its braces. */
interface Item {
  readonly line: Line;
  readonly inside: readonly Item[];
}

/** Reads the file's text; `file` is its name in notes. */
export function readKeepalived(text: string, file: string): Keepalived {
  const ledger = openLedger(file);
  const items = itemsOf(text);
  const vips: string[] = [];
  const addresses: string[] = [];
  let name: string | undefined;
  let device: string | undefined;
  for (const { line, inside } of items) {
    const [kind = ""] = line.words;
    if (kind === "global_defs") name = readGlobal(inside, ledger);
    else if (kind === "vrrp_instance") {
      const found = readInstance(inside, ledger);
      ledger.take(line);
      vips.push(...found.vips);
      addresses.push(...found.addresses);
      device ??= found.interface;
    } else sayWhole(line, kind, ledger);
  }
  return { vips: [...new Set(vips)], addresses: [...new Set(addresses)], interface: device, name, ledger };
}

function itemsOf(text: string): Item[] {
  const root: Item[] = [];
  const stack: Item[][] = [root];
  text.split("\n").forEach((raw, i) => {
    const plain = raw.replace(/(^|\s)!.*$/, "");
    // Braces are words of their own, wherever they stand.
    let words: string[] = [];
    const push = (): Item | undefined => {
      if (words.length === 0) return undefined;
      const item = { line: { number: i + 1, text: raw.trim(), words }, inside: [] as Item[] };
      stack.at(-1)!.push(item);
      words = [];
      return item;
    };
    for (const word of wordsOf(plain.replaceAll(/[{}]/g, " $& "))) {
      if (word === "{") {
        const opened = push() ?? stack.at(-1)!.at(-1);
        // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- made above
        stack.push((opened?.inside ?? []) as Item[]);
      } else if (word === "}") {
        push();
        if (stack.length > 1) stack.pop();
      } else words.push(word);
    }
    push();
  });
  return root;
}

function readGlobal(items: readonly Item[], ledger: Ledger): string | undefined {
  let name: string | undefined;
  for (const { line } of items) {
    if (line.words[0] === "router_id") {
      name = nameFor(line.words[1] ?? "");
      ledger.take(line);
    } else
      ledger.note(
        line,
        "not-needed",
        "alerts come from the metrics (docs/monitoring.md), all else is the array's own care",
      );
  }
  return name;
}

const SAID: Readonly<Record<string, readonly [kind: "left-out" | "not-needed" | "differs", say: string]>> = {
  state: ["not-needed", "the nodes elect the scheduler, and all of them serve"],
  virtual_router_id: ["not-needed", "no VRRP is spoken"],
  advert_int: [
    "not-needed",
    "failover.heartbeat_ms and dead_after_ms have defaults: another node takes over in a tenth of a second",
  ],
  authentication: ["not-needed", "nodes know each other by the array key"],
  auth_type: ["not-needed", "nodes know each other by the array key"],
  priority: [
    "differs",
    "set nodes[].priority where it matters who is the scheduler: all nodes serve, whoever it is",
  ],
  nopreempt: ["not-needed", "that is the default: failover.preempt"],
  preempt_delay: ["not-needed", "see failover.preempt_delay_s"],
  track_script: ["not-needed", "a node whose workers don't accept is routed round by itself"],
  track_interface: ["not-needed", "a node without a carrier does not take over"],
  track_process: ["not-needed", "a node whose workers don't accept is routed round by itself"],
  virtual_routes: ["left-out", "routes are the machine's own"],
  mcast_src_ip: ["not-needed", "no VRRP is spoken"],
};

function readInstance(
  items: readonly Item[],
  ledger: Ledger,
): Pick<Keepalived, "vips" | "addresses" | "interface"> {
  const vips: string[] = [];
  const addresses: string[] = [];
  let device: string | undefined;
  const take = (list: string[], { line }: Item): void => {
    const text = line.words.find((word) => isIP(word.split("/")[0] ?? "") !== 0)?.split("/")[0];
    if (text === undefined) return ledger.note(line, "left-out", "it names no address");
    list.push(parseIp(text)?.text ?? text);
    ledger.take(line);
  };
  for (const item of items) {
    const { line, inside } = item;
    const [keyword = ""] = line.words;
    if (keyword === "virtual_ipaddress" || keyword === "virtual_ipaddress_excluded") {
      for (const each of [item, ...inside]) if (each !== item || line.words.length > 1) take(vips, each);
      ledger.take(line);
    } else if (keyword === "unicast_src_ip") {
      addresses.unshift(line.words[1] ?? "");
      ledger.take(line);
    } else if (keyword === "unicast_peer") {
      for (const each of [item, ...inside]) if (each !== item || line.words.length > 1) take(addresses, each);
      ledger.take(line);
    } else if (keyword === "interface") {
      device = line.words[1];
      ledger.take(line);
    } else if (Object.hasOwn(SAID, keyword)) ledger.note(line, ...SAID[keyword]!);
    else if (keyword.startsWith("notify"))
      ledger.note(
        line,
        "left-out",
        "what happens stands in 'bin/dlba events --follow --json': let a script read that",
      );
    else ledger.note(line, "left-out", `${keyword} has no counterpart`);
  }
  return { vips, addresses, interface: device };
}

function sayWhole(line: Line, kind: string, ledger: Ledger): void {
  if (kind === "vrrp_script" || kind === "vrrp_track_process")
    ledger.note(line, "not-needed", "a node whose workers don't accept is routed round by itself");
  else if (kind === "vrrp_sync_group") ledger.note(line, "not-needed", "all VIPs of an array move together");
  else if (kind === "virtual_server" || kind === "real_server")
    ledger.note(
      line,
      "left-out",
      "write a tcp or udp vserver with a direct pool: docs/operating.md, 'Hosts without a proxy'",
    );
  else ledger.note(line, "left-out", `${kind} has no counterpart`);
}
