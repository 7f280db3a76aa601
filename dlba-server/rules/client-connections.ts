/** How many connections each client has to a worker. As large as the number of connections; pure. */
import { parseIp } from "../../conf/address.ts";

export interface ClientConnections {
  readonly most: number;
  /** Those that there are, by client. */
  readonly counts: Map<string, number>;
}

export const createClientConnections = (most: number): ClientConnections => ({ most, counts: new Map() });

/** A client is an IPv4 address, or a /64 of IPv6: a host may have all addresses of that. */
export function clientKey(address: string): string {
  if (!address.includes(":")) return address;
  return Buffer.from(parseIp(address)?.bytes.subarray(0, 8) ?? []).toString("hex");
}

/** What becomes of a connection beyond the limit: an answer, and beyond twice as many not even that. */
export type Verdict = "served" | "answered" | "refused";

/** Counts one more. It stays counted until it is dropped, whatever becomes of it. */
export function addConnection({ most, counts }: ClientConnections, client: string): Verdict {
  const count = (counts.get(client) ?? 0) + 1;
  counts.set(client, count);
  if (count <= most) return "served";
  return count <= most * 2 ? "answered" : "refused";
}

/** Counts one less. */
export function dropConnection({ counts }: ClientConnections, client: string): void {
  const count = counts.get(client) ?? 0;
  if (count > 1) counts.set(client, count - 1);
  else counts.delete(client);
}
