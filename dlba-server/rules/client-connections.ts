/** How many connections each client has to a node. As large as the number of connections; pure but for the clock. */
import { parseIp } from "../../conf/address.ts";
import { connectionsElsewhere, tellConnections, type NodeConnections } from "./node-connections.ts";

export interface ClientConnections {
  readonly most: number;
  /** Tells the vserver from others. */
  readonly purpose: number;
  /** Those that this worker has, by client. */
  readonly counts: Map<string, number>;
  /** What other workers of the node have; undefined while nothing is shared. */
  elsewhere: { readonly table: NodeConnections; readonly clock_ms: () => number } | undefined;
}

export const createClientConnections = (most: number, purpose: number): ClientConnections => ({
  most,
  purpose,
  counts: new Map(),
  elsewhere: undefined,
});

/** A client is an IPv4 address, or a /64 of IPv6: a host may have all addresses of that. */
export function clientKey(address: string): string {
  if (!address.includes(":")) return address;
  return Buffer.from(parseIp(address)?.bytes.subarray(0, 8) ?? []).toString("hex");
}

/** What becomes of a connection beyond the limit: an answer, and beyond twice as many not even that. */
export type Verdict = "served" | "answered" | "refused";

/**
 * Counts one more. It stays counted until it is dropped, whatever becomes of it. Connections that two workers accept at the same
 * moment may not see each other.
 */
export function addConnection(all: ClientConnections, client: string): Verdict {
  const { most, purpose, elsewhere } = all;
  const here = (all.counts.get(client) ?? 0) + 1;
  setCount(all, client, here);
  const others =
    elsewhere === undefined
      ? 0
      : connectionsElsewhere(elsewhere.table, client, purpose, elsewhere.clock_ms());
  const count = here + others;
  if (count <= most) return "served";
  return count <= most * 2 ? "answered" : "refused";
}

/** Counts one less. */
export function dropConnection(all: ClientConnections, client: string): void {
  setCount(all, client, Math.max(0, (all.counts.get(client) ?? 0) - 1));
}

function setCount({ counts, purpose, elsewhere }: ClientConnections, client: string, count: number): void {
  if (count > 0) counts.set(client, count);
  else counts.delete(client);
  if (elsewhere !== undefined) tellConnections(elsewhere.table, client, purpose, count);
}

/** Tells the others all that this worker has. */
export function tellAll({ counts, purpose, elsewhere }: ClientConnections): void {
  if (elsewhere === undefined) return;
  for (const [client, count] of counts) tellConnections(elsewhere.table, client, purpose, count);
}
