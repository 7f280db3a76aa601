/**
 * Which rows of the traffic map belong to which virtual server and node. They stay theirs as long as the map lives,
 * whatever the configuration's order becomes, so that no counter goes on as another's. Pure but for the record file.
 */
import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { MAX_VSERVERS } from "../conf/limits.ts";
import { isRecord } from "../conf/record.ts";
import { TRAFFIC_SLOTS } from "./layout.ts";

/** Rows of a virtual server: one per node or host. */
export const ROWS_PER_VSERVER = TRAFFIC_SLOTS;
const LEAST_VSERVERS = 16;

/** Places by name: vservers by theirs, nodes and hosts by `group/number`. */
export interface TrafficPlaces {
  readonly vservers: Readonly<Record<string, number>>;
  readonly slots: Readonly<Record<string, number>>;
}
export const NO_PLACES: TrafficPlaces = { vservers: {}, slots: {} };

/** Rows that the map needs: a power of two, with room for vservers to come. */
export function rowsFor(places: TrafficPlaces): number {
  const highest = Math.max(LEAST_VSERVERS - 1, ...Object.values(places.vservers));
  return 2 ** Math.ceil(Math.log2(highest + 1)) * ROWS_PER_VSERVER;
}

/** Gives each name a place: its former one, or the lowest that nobody has had; the oldest free ones last. */
export function allot(
  former: TrafficPlaces,
  vservers: readonly string[],
  hosts: readonly { readonly group: string; readonly number: number }[],
): TrafficPlaces {
  const groups = Map.groupBy(hosts, ({ group }) => group);
  const slots = [...groups].map(([group, members]) => {
    const names = members.map(({ number }) => hostKey(group, number));
    return allotOne(former.slots, names, TRAFFIC_SLOTS, (name) => name.startsWith(`${group}/`));
  });
  return {
    vservers: allotOne(former.vservers, vservers, MAX_VSERVERS, () => true),
    slots: Object.assign({}, ...slots),
  };
}

export const hostKey = (group: string, number: number): string => `${group}/${number}`;

function lowestNotIn(...sets: ReadonlySet<number>[]): number {
  for (let place = 0; ; place++) if (!sets.some((set) => set.has(place))) return place;
}

function allotOne(
  former: Readonly<Record<string, number>>,
  names: readonly string[],
  most: number,
  isSameSpace: (name: string) => boolean,
): Record<string, number> {
  const taken = new Set(names.flatMap((name) => former[name] ?? []));
  const everUsed = new Set(
    Object.entries(former).flatMap(([name, place]) => (isSameSpace(name) ? [place] : [])),
  );
  return Object.fromEntries(
    names.map((name) => {
      const own = former[name];
      if (own !== undefined) return [name, own];
      const fresh = lowestNotIn(taken, everUsed);
      const place = fresh < most ? fresh : lowestNotIn(taken);
      taken.add(place);
      return [name, place];
    }),
  );
}

/** The places as an earlier process noted them; none when there is no such note, or none that can be read. */
export function readPlaces(file: string): TrafficPlaces {
  if (!existsSync(file)) return NO_PLACES;
  try {
    const noted: unknown = JSON.parse(readFileSync(file, "utf8"));
    if (!isRecord(noted)) return NO_PLACES;
    return { vservers: numbersIn(noted["vservers"]), slots: numbersIn(noted["slots"]) };
  } catch {
    return NO_PLACES; // Written half when the machine stopped: counters may go on as others', no frame goes astray.
  }
}

function numbersIn(value: unknown): Record<string, number> {
  if (!isRecord(value)) return {};
  const entries = Object.entries(value).flatMap(([name, place]): [string, number][] =>
    typeof place === "number" && Number.isInteger(place) && place >= 0 ? [[name, place]] : [],
  );
  return Object.fromEntries(entries);
}

/** Notes the places; former names are kept, so that their rows are taken last. */
export function writePlaces(file: string, former: TrafficPlaces, places: TrafficPlaces): void {
  const noted = {
    vservers: stillFree(former.vservers, places.vservers),
    slots: stillFree(former.slots, places.slots),
  };
  writeFileSync(`${file}.new`, `${JSON.stringify(noted)}\n`);
  renameSync(`${file}.new`, file);
}

/** Names of hosts share their places only within their group. */
const spaceOf = (name: string): string => name.slice(0, name.lastIndexOf("/") + 1);

/** The places that are in use, and of the former ones those that nobody else has got. */
function stillFree(
  former: Readonly<Record<string, number>>,
  current: Readonly<Record<string, number>>,
): Record<string, number> {
  const used = new Set(Object.entries(current).map(([name, place]) => `${spaceOf(name)}${place}`));
  const kept = Object.entries(former).filter(([name, place]) => !used.has(`${spaceOf(name)}${place}`));
  return { ...Object.fromEntries(kept), ...current };
}
