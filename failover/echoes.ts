/**
 * The second opinion where heartbeats are filtered: whether a node's kernel answers ICMP echo requests. Asked only while
 * the elector wants to know.
 */
import { parseIp, type IpAddress } from "../conf/address.ts";
import type { NodeConfig } from "../conf/schema.ts";
import type { IcmpSocket } from "../net/icmp-socket.ts";

const EVERY_NS = 10_000_000;
const TIMEOUT_MS = 100;

export interface Echoes {
  /** Asks these nodes on all their addresses, if that is due. */
  ask(numbers: readonly number[], now_ns: number): void;
  /** By node number: when the latest request that was answered had been sent. */
  readonly answered_ns: ReadonlyMap<number, number>;
  close(): void;
}

export function createEchoes(nodes: readonly NodeConfig[], socket: IcmpSocket): Echoes {
  const addresses = new Map(nodes.map((node): [number, IpAddress[]] => [node.number, addressesOf(node)]));
  const asked_ns = new Map<number, number>();
  const answered_ns = new Map<number, number>();
  const askOne = async (number: number, address: IpAddress, now_ns: number): Promise<void> => {
    // A node that can't be reached at all does not answer.
    const isAnswered = await socket.echo(address, TIMEOUT_MS).catch(() => false);
    if (isAnswered) answered_ns.set(number, Math.max(now_ns, answered_ns.get(number) ?? 0));
  };
  return {
    ask: (numbers, now_ns) => {
      for (const number of numbers) {
        if (now_ns - (asked_ns.get(number) ?? -Infinity) < EVERY_NS) continue;
        asked_ns.set(number, now_ns);
        for (const address of addresses.get(number) ?? []) void askOne(number, address, now_ns);
      }
    },
    answered_ns,
    close: () => socket.close(),
  };
}

function addressesOf({ address, interfaces }: NodeConfig): IpAddress[] {
  return [address, ...interfaces.map((further) => further.address)].flatMap((text) => parseIp(text) ?? []);
}
