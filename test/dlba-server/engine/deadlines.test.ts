/** When an exchange has kept the others waiting for too long. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { updateDeadline } from "../../../dlba-server/engine/deadlines.ts";
import { createExchange } from "../../../dlba-server/engine/exchange.ts";
import { port } from "../../../dlba-server/engine/port.ts";
import type { ClientConnection, ServerConnection, Worker } from "../../../dlba-server/engine/runtime.ts";
import { createStream } from "../../../dlba-server/engine/stream.ts";
import { createTimerWheel } from "../../../dlba-server/engine/timer-wheel.ts";
import { PHASE } from "../../../dlba-server/session-port.ts";

test("a tunnel goes on while what it was given still leaves, either way, and is over when nothing moves", () => {
  const timeouts = { tunnel_ms: 1000, request_body_ms: 500, request_ms: 0, client_write_ms: 10_000 };
  const worker = { now_ms: 0, wheel: createTimerWheel(0), config: { timeouts } } as unknown as Worker;
  const client = { stream: createStream(-1, 0, 0, false), slotTick: -1 } as unknown as ClientConnection;
  const server = { stream: createStream(-1, 0, 0, false) } as unknown as ServerConnection;
  const exchange = createExchange(client, port, 0);
  exchange.server = server;
  exchange.session.phase = PHASE.tunnel;
  const deadlineAt = (now_ms: number): number => {
    worker.now_ms = now_ms;
    updateDeadline(worker, exchange);
    return client.deadline_ms;
  };
  assert.equal(deadlineAt(0), 1000);
  exchange.lastInput_ms = 100;
  assert.equal(deadlineAt(100), 1100);
  client.stream.progress_ms = 900;
  assert.equal(deadlineAt(900), 1900);
  server.stream.progress_ms = 1200;
  assert.equal(deadlineAt(1500), 2200);
  exchange.session.isServerEnded = true;
  assert.equal(deadlineAt(1600), 1700);
});
