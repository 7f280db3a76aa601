/** A hundred clients that ask for all there is and read none of it. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { BUCKET_DUMPS, MONITOR_CONNECTIONS } from "../../conf/limits.ts";
import type { BucketsReport } from "../../conf/messages.ts";
import { answerCommand, parseCommand } from "../../status/commands.ts";
import { eventRing } from "../../status/event-ring.ts";
import { monitor } from "../../status/monitor.ts";
import { observer } from "../../status/observed.ts";
import { facts, published as reports } from "./haproxy/node.ts";
import { quiet, worker } from "./samples.ts";

const directory = mkdtempSync(join(tmpdir(), "dlba-greedy-"));
after(() => rmSync(directory, { recursive: true }));

const GREEDY = 100;
const BUCKETS = 65_536;
const owners = Buffer.alloc(BUCKETS, 1).toString("base64");
const report: BucketsReport = {
  kind: "buckets",
  table_size: BUCKETS,
  owners,
  next: owners,
  previous: owners,
  idle_s: Buffer.alloc(4 * BUCKETS).toString("base64"),
};
/** A Unix socket's buffers, and a piece on top, with room to spare. */
const ROOM_BYTES = 2 << 20;

test("cost no more than their socket's buffers each, and lock nobody out", async (t) => {
  const path = join(directory, "monitor.sock");
  let made_bytes = 0;
  let asked = 0;
  let dumps = 0;
  const bodies = [
    { hello: { process: "scheduler", worker: 0, pid: 1 }, body: report } as const,
    ...reports(worker()),
  ];
  const collector = { ask: async () => (asked++, bodies), absent: () => [], close: async () => undefined };
  const sources = { facts, collector, observed: observer(), events: eventRing(10), life: "1" };
  function* counted(pieces: Iterable<string>): Generator<string> {
    dumps++;
    for (const piece of pieces) {
      made_bytes += piece.length;
      yield piece;
    }
  }
  const server = await monitor({
    path,
    answer: async (command) => counted(await answerCommand(parseCommand(command), sources)),
    idle_ms: 120_000,
    answer_ms: 120_000,
    log: quiet,
  });
  t.after(() => server.close());

  const beginAll = (line: string): void => {
    const sockets = Array.from({ length: GREEDY }, (): Socket => {
      const socket = connect(path).on("error", () => undefined);
      socket.pause().write(`${line}\n`);
      return socket;
    });
    t.after(() => sockets.forEach((socket) => socket.destroy()));
  };
  /** Nothing more is made once the buffers are full. */
  const settled = async (): Promise<void> => {
    for (let before = -1; before !== made_bytes;) {
      before = made_bytes;
      await sleep(300);
    }
  };

  // Dumps of the whole table: few at once, the others are told so.
  beginAll("show buckets all json;show buckets all csv");
  const hasAsked = (): boolean => asked >= BUCKET_DUMPS;
  while (!hasAsked()) await sleep(20);
  await settled();
  assert.ok(dumps <= BUCKET_DUMPS, `${dumps} dumps were begun`);
  assert.ok(made_bytes <= BUCKET_DUMPS * ROOM_BYTES, `${made_bytes} bytes were made`);

  // Whatever else there is, as often as a line has room for: until all places are taken by who does not read.
  beginAll("show stat;".repeat(400));
  await settled();
  assert.ok(made_bytes <= (MONITOR_CONNECTIONS + BUCKET_DUMPS) * ROOM_BYTES, `${made_bytes} bytes were made`);

  // Somebody who reads gets the place of one who does not, as soon as that one has stalled for a second.
  let said = "";
  while (!said.endsWith("\n\n")) {
    said = "";
    const socket = connect(path).on("error", () => undefined);
    socket.setEncoding("utf8").on("data", (text: string) => (said += text));
    socket.write("show info\n");
    await new Promise<void>((resolve) => socket.once("close", () => resolve()));
  }
  assert.match(said, /^Name: DLBA$/m);
});
