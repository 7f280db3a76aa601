/**
 * The listening sockets of a node. The supervisor makes them and its workers inherit them, one of each for each worker
 * (SO_REUSEPORT): whichever worker dies or is replaced, what waits in the queues waits for the next one.
 */
import { parseIp } from "../conf/address.ts";
import { LISTEN_BACKLOG } from "../conf/limits.ts";
import { listenersOf, type ListenerPlace } from "../conf/listeners.ts";
import type { Config } from "../conf/schema.ts";
import { close, listenTcp } from "../net/sockets.ts";

/** By place (VIP and port), a descriptor for each worker. */
export type Listening = ReadonlyMap<string, readonly number[]>;

export const placeKey = ({ vip, port }: Pick<ListenerPlace, "vip" | "port">): string => `${vip} ${port}`;

/** The descriptors of one worker, in the order of `listenersOf`. */
export function socketsOf(listening: Listening, config: Config, worker: number): number[] {
  return listenersOf(config).map((place) => listening.get(placeKey(place))![worker]!);
}

/**
 * The sockets for a configuration and a number of workers: those that there are, and new ones. Throws SysError when one can't
 * be made; then no new one is left.
 */
export function openListening(config: Config, workers: number, before: Listening): Listening {
  const opened: number[] = [];
  try {
    return new Map(
      listenersOf(config).map((place): [string, number[]] => {
        const have = before.get(placeKey(place)) ?? [];
        const open = (): number => {
          const fd = listenTcp(parseIp(place.vip)!, place.port, LISTEN_BACKLOG);
          opened.push(fd);
          return fd;
        };
        return [placeKey(place), Array.from({ length: workers }, (_, i) => have[i] ?? open())];
      }),
    );
  } catch (error) {
    for (const fd of opened) close(fd);
    throw error;
  }
}

/** Closes those that the other set does not have. */
export function closeListening(listening: Listening, kept: Listening): void {
  const stay = new Set([...kept.values()].flat());
  for (const fd of [...listening.values()].flat()) if (!stay.has(fd)) close(fd);
}

/** Which places of a configuration nobody listens on any more, as numbers in `listenersOf`. */
export function endedPlaces(before: Config, after: Config): number[] {
  const kept = new Set(listenersOf(after).map(placeKey));
  return listenersOf(before).flatMap((place, i) => (kept.has(placeKey(place)) ? [] : [i]));
}
