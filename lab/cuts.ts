/**
 * Cuts through a lab's switches: sides that don't see each other, and single ways that are blocked. Rules in the bridges
 * drop frames by the ports they come in and leave at; hosts that no side names see all of them.
 */
import { DlbaError } from "../conf/errors.ts";
import { labPlaces } from "./places.ts";
import { hostNamed } from "./planned-host.ts";
import { stateOf } from "./state.ts";
import { runIn } from "./topology.ts";

const TABLE = "bridge dlba_cuts";
/** Before the rules that count: what is cut off is not counted. */
const EMPTY = `table ${TABLE} {
  chain sides { type filter hook forward priority -20; policy accept; }
  chain ways { type filter hook forward priority -10; policy accept; }
}
`;

/**
 * Cuts the lab's switches into sides; an earlier cut into sides is undone at the same moment. Throws DlbaError
 * LAB_IMPOSSIBLE when a host is on two sides.
 */
export async function labPartition(name: string, sides: readonly (readonly string[])[]): Promise<void> {
  const state = stateOf(labPlaces(name));
  const ports = sides.map((side) => side.map((host) => hostNamed(state.hosts, host).name));
  await applyRules(name, `${EMPTY}flush chain ${TABLE} sides\n${sideRules(ports)}`);
}

/** Blocks the way from hosts to others; the way back stays open. Earlier blocks stay. */
export async function labBlock(name: string, from: readonly string[], to: readonly string[]): Promise<void> {
  const { hosts } = stateOf(labPlaces(name));
  const [senders, receivers] = [from, to].map((side) => side.map((host) => hostNamed(hosts, host).name));
  await applyRules(name, `${EMPTY}${wayRule("ways", senders!, receivers!)}`);
}

/** Takes away every cut and block. */
export async function labHealPartition(name: string): Promise<void> {
  await applyRules(name, `${EMPTY}delete table ${TABLE}\n`);
}

/** All of it at one moment, for each switch. */
async function applyRules(name: string, rules: string): Promise<void> {
  const places = labPlaces(name);
  const { segments } = stateOf(places);
  await Promise.all(
    segments.map(async (segment) => runIn(places.namespacePrefix + segment, ["nft", "-f", "-"], rules)),
  );
}

/** Rules by which no frame of a side gets to another one. */
export function sideRules(sides: readonly (readonly string[])[]): string {
  const all = sides.flat();
  const twice = all.find((host, i) => all.indexOf(host) !== i);
  if (twice !== undefined) throw new DlbaError("LAB_IMPOSSIBLE", `${twice} can't be on two sides of a cut`);
  return sides
    .map((side) => {
      const others = all.filter((host) => !side.includes(host));
      return wayRule("sides", side, others);
    })
    .join("");
}

const setOf = (ports: readonly string[]): string => `{ ${ports.map((port) => `"${port}"`).join(", ")} }`;

function wayRule(chain: string, from: readonly string[], to: readonly string[]): string {
  if (from.length === 0 || to.length === 0) return "";
  return `add rule ${TABLE} ${chain} iifname ${setOf(from)} oifname ${setOf(to)} drop\n`;
}
