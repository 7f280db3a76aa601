/** Requests that wait for a web server to have room: in, out, and on when their turn has come. */
import { parseIp } from "../../conf/address.ts";
import { boundTo, isUsable } from "../choose.ts";
import { callAny, callBound, callNext, leaveSeat, takeSeat } from "../pools/waiting-room.ts";
import type { Exchange, PoolRuntime, Worker } from "./runtime.ts";

/** Of an IPv6 address the network counts: a client has 2^64 addresses to choose from. */
const CLIENT_BYTES = 8;

function clientKey(address: string): string {
  if (!address.includes(":")) return address;
  return Buffer.from(parseIp(address)?.bytes.subarray(0, CLIENT_BYTES) ?? []).toString("latin1");
}

/**
 * Has the exchange wait, for whom `chooseServer` has just said; false when too many wait. `isAgain`: its turn had come, and
 * its time goes on.
 */
export function startWaiting(
  worker: Worker,
  exchange: Exchange,
  pool: PoolRuntime,
  isAgain: boolean,
): boolean {
  // The request before it on this connection may have waited till now.
  stopWaiting(exchange);
  if (!isAgain) exchange.phaseStart_ms = worker.now_ms;
  const key = clientKey(exchange.client.env.clientAddress);
  exchange.seat = takeSeat(pool.room!, boundTo, key, exchange, worker.now_ms);
  exchange.waitsIn = exchange.seat === undefined ? undefined : pool;
  return exchange.seat !== undefined;
}

/** It waits no longer, whatever the reason. */
export function stopWaiting(exchange: Exchange): void {
  if (exchange.seat !== undefined) leaveSeat(exchange.waitsIn!.room!, exchange.seat);
  exchange.seat = undefined;
  exchange.waitsIn = undefined;
}

/**
 * Lets those go on whose turn has come, each through `goOn`, which chooses for it again and may have it wait again. Called
 * once a turn of the loop: web servers get room, come back and go without anybody waiting for them being told.
 */
export function serveWaiting(worker: Worker, pool: PoolRuntime, goOn: (exchange: Exchange) => void): void {
  const { room, state } = pool;
  if (room === undefined || room.count === 0) return;
  // Who has to wait again stands at the end: nobody is called twice.
  let left = room.count;
  let hasUsable = false;
  for (let index = 0; index < state.servers.length; index++) {
    const server = state.servers[index]!;
    if (!isUsable(server, index, [], worker.now_ms)) {
      for (const exchange of callBound(room, index)) call(exchange, goOn);
      continue;
    }
    const takesAny = server.weight > 0;
    hasUsable ||= takesAny;
    while (left > 0 && server.load < server.maxLoad) {
      const exchange = callNext(room, index, takesAny);
      if (exchange === undefined) break;
      left--;
      call(exchange, goOn);
    }
  }
  // Nobody will have room: each is told so, or tries who was passed over.
  if (!hasUsable) for (const exchange of callAny(room)) call(exchange, goOn);
}

function call(exchange: Exchange, goOn: (exchange: Exchange) => void): void {
  exchange.seat = undefined;
  exchange.waitsIn = undefined;
  goOn(exchange);
}
