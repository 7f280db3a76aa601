/** Second chance against connections that are neither open nor absent: half open, answered by cookies, just closed. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { testRun } from "../../net/libbpf.ts";
import * as f from "./frames.ts";
import { until } from "./network.ts";
import { fill, prepare, type PacketPlane } from "./packet-plane.ts";
import { PASS, PORTS, TX, v4, v6, type Row } from "./packet-rows.ts";
import { countTimeWait, halfOpen, leaveInTimeWait, setSynCookies } from "./real-sockets.ts";

const SCHEDULER = { from: f.macOfNode(2) };
const ACK = 0x10;
const RST = 4;
/** A world in which this node's buckets have moved to it from node 3. */
const WORLD: Row = { name: "", packet: Buffer.alloc(0), verdict: PASS, isScheduling: false };

/** Whether a frame that the scheduler has sent stays here; else it goes on to node 3. */
function stays(plane: PacketPlane, frame: Buffer): boolean {
  fill(plane, [1, 2, 3]);
  const given = Buffer.from(frame);
  f.mac(f.OWN_MAC).copy(given, 0);
  f.mac(SCHEDULER.from).copy(given, 6);
  const { verdict } = testRun(plane.programFd, given);
  assert.ok(verdict === PASS || verdict === TX);
  return verdict === PASS;
}

let lastPort = 6000;
const freshPort = (): number => ++lastPort;

export function socketTests(planeOf: () => PacketPlane): void {
  test("the segment that completes a connection stays where the SYN went", async () => {
    prepare(planeOf(), WORLD);
    setSynCookies(0);
    for (const family of [4, 6] as const) {
      const port = freshPort();
      const { ack } = await halfOpen(family, port);
      assert.equal(stays(planeOf(), ack()), true, `IPv${family}`);
      const other = await halfOpen(family, freshPort());
      assert.equal(
        stays(planeOf(), other.ack(ACK, 5)),
        true,
        "whatever it acknowledges: the kernel refuses it",
      );
    }
  });

  test("the segment that brings back this node's SYN cookie stays, any other goes on", async () => {
    prepare(planeOf(), WORLD);
    setSynCookies(2);
    for (const family of [4, 6] as const) {
      const { ack } = await halfOpen(family, freshPort());
      const label = `IPv${family}`;
      assert.equal(stays(planeOf(), ack()), true, label);
      assert.equal(stays(planeOf(), ack(ACK, 1000)), false, `${label}, another cookie`);
      assert.equal(stays(planeOf(), ack(RST)), false, `${label}, no ACK`);
      assert.equal(stays(planeOf(), ack(ACK | RST)), false, `${label}, a reset`);
    }
    setSynCookies(1);
  });

  test("a connection that was just closed does not keep its port's next one from the previous node", async () => {
    prepare(planeOf(), WORLD);
    const port = freshPort();
    const segment = f.tcp(port, PORTS.deaf, ACK);
    await leaveInTimeWait(port);
    await until("both are in TIME_WAIT", () => countTimeWait(port) === 2);
    assert.equal(stays(planeOf(), v4(6, segment)), false);
    assert.equal(stays(planeOf(), v6(6, segment)), false);
    assert.equal(countTimeWait(port), 2, "they were there all the time");
  });
}
