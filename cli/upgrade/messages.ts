/**
 * What the process that leads a node, and the one that is to lead it, say to each other. They may be of different versions, so
 * what is said is little and read strictly: whoever does not understand the other lets it be, and the node goes on as it was.
 *
 *     predecessor                                    successor
 *     offer: the listening sockets        →
 *                                         ←          prepared: what it listens on; its workers are ready
 *     take-over                           →          its workers accept
 *                                         ←          serving
 *     retires its workers, ends the rest
 *     yours                               →          starts the rest
 *                                         ←          running
 *     leads (to the service manager), then
 *     led                                 →
 *                                         ←          stop, at any time from then on: what still drains is to end
 */
import { z } from "zod";
import { UPGRADE_PLACES } from "../../conf/limits.ts";

/** Raised whenever one that knows only the former can't go on. */
const PROTOCOL = 1;
/** Set for a process that is to succeed the one that started it. */
export const SUCCEEDS = "DLBA_SUCCEEDS";

const key = z.string().max(100);
const place = z.strictObject({ key, fds: z.array(z.int().min(3)).min(1).max(4096) });

const fromPredecessor = z.discriminatedUnion("kind", [
  z.strictObject({
    kind: z.literal("offer"),
    protocol: z.literal(PROTOCOL),
    places: z.array(place).max(UPGRADE_PLACES),
  }),
  z.strictObject({ kind: z.literal("take-over") }),
  z.strictObject({ kind: z.literal("yours") }),
  z.strictObject({ kind: z.literal("led") }),
]);
/** The successor's descriptors by place (`placeKey`), one for each worker, come with the offer. */
export type FromPredecessor = z.infer<typeof fromPredecessor>;

const fromSuccessor = z.discriminatedUnion("kind", [
  z.strictObject({
    kind: z.literal("prepared"),
    places: z.array(key).max(UPGRADE_PLACES),
    workers: z.int().min(1).max(4096),
  }),
  z.strictObject({ kind: z.literal("serving") }),
  z.strictObject({ kind: z.literal("running"), version: z.string().max(100) }),
  z.strictObject({ kind: z.literal("stop") }),
]);
export type FromSuccessor = z.infer<typeof fromSuccessor>;

/** Undefined when it is none of them. */
export const readFromPredecessor = (message: unknown): FromPredecessor | undefined =>
  fromPredecessor.safeParse(message).data;
export const readFromSuccessor = (message: unknown): FromSuccessor | undefined =>
  fromSuccessor.safeParse(message).data;

/** An offer; descriptors are numbered from `first` on in the process that gets it. */
export function offerOf(listening: ReadonlyMap<string, readonly number[]>, first: number): FromPredecessor {
  let next = first;
  const places = [...listening].map(([key, fds]) => ({ key, fds: fds.map(() => next++) }));
  return { kind: "offer", protocol: PROTOCOL, places };
}
