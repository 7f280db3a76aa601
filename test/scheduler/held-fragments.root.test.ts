/**
 * Held fragments and a real kernel, in a network namespace of the test's own: a first fragment that came in by the
 * interface, and a later one that comes in by `lo`, make one packet. Needs root.
 */
import assert from "node:assert/strict";
import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { after, before, test, type TestContext } from "node:test";
import { readInterface } from "../../net/interface.ts";
import { openPacketSocket, type PacketSocket } from "../../net/packet-socket.ts";
import {
  createHeldFragments,
  type Destination,
  type HeldFragments,
} from "../../scheduler/held/held-fragments.ts";
import { enterOwnNetwork, ip } from "../net/network-namespace.ts";
import { until } from "./network.ts";

const VIP = "198.18.0.100";
const VIP6 = "fd00::100";
const OWN_MAC = "02:00:00:00:00:11";
const CLIENT_MAC = "0a:00:00:00:00:99";
const IPV4 = 0x0800;
const IPV6 = 0x86dd;
const ALL_ETHERTYPES = 3;

const mac = (text: string): Buffer => Buffer.from(text.replaceAll(":", ""), "hex");
let wire: PacketSocket;
let own = 0;

function setReversePathFilter(all: number, lo: number): void {
  writeFileSync("/proc/sys/net/ipv4/conf/all/rp_filter", `${all}`);
  writeFileSync("/proc/sys/net/ipv4/conf/lo/rp_filter", `${lo}`);
}

before(() => {
  enterOwnNetwork();
  ip(`link add name eth0 address ${OWN_MAC} type veth peer name wire address ${CLIENT_MAC}`);
  ip("link set eth0 up");
  ip("link set wire up");
  ip("addr add 198.18.0.1/24 dev eth0");
  ip("addr add fd00::1/64 dev eth0 nodad");
  ip(`addr add ${VIP}/32 dev lo`);
  ip(`addr add ${VIP6}/128 dev lo nodad`);
  ip("route replace default via 198.18.0.254");
  // What the machine has may be inherited by a new namespace.
  setReversePathFilter(0, 0);
  writeFileSync("/proc/sys/net/ipv4/conf/eth0/rp_filter", "0");
  own = readInterface("eth0").ifindex;
  wire = openPacketSocket(readInterface("wire").ifindex, ALL_ETHERTYPES);
});
after(() => wire.close());

function sumOf(bytes: Buffer): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) sum += bytes.readUInt16BE(i);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}
const ethernet = (type: number, packet: Buffer): Buffer => {
  const head = Buffer.concat([mac(OWN_MAC), mac(CLIENT_MAC), Buffer.of(type >> 8, type & 255)]);
  return Buffer.concat([head, packet]);
};
/** The two fragments of a UDP packet of 40 bytes: 24 and 16. */
function fragments4(payload: Buffer, id: number): [Buffer, Buffer] {
  const udp = Buffer.concat([Buffer.of(0x0f, 0xa0, 0, 53, 0, 8 + payload.length, 0, 0), payload]);
  const part = (from: number, to: number, isMore: boolean): Buffer => {
    const head = Buffer.from("4500000000000000401100000b000001c6120064", "hex");
    head.writeUInt16BE(20 + to - from, 2);
    head.writeUInt16BE(id, 4);
    head.writeUInt16BE((isMore ? 0x2000 : 0) | (from / 8), 6);
    head.writeUInt16BE(sumOf(head), 10);
    return ethernet(IPV4, Buffer.concat([head, udp.subarray(from, to)]));
  };
  return [part(0, 24, true), part(24, udp.length, false)];
}
function fragments6(payload: Buffer, id: number): [Buffer, Buffer] {
  const addresses = Buffer.from("20010db800000000000000000000000cfd000000000000000000000000000100", "hex");
  const length = 8 + payload.length;
  const udp = Buffer.concat([Buffer.of(0x0f, 0xa0, 0, 53, 0, length, 0, 0), payload]);
  udp.writeUInt16BE(sumOf(Buffer.concat([addresses, Buffer.of(0, 0, 0, length, 0, 0, 0, 17), udp])), 6);
  const part = (from: number, to: number, isMore: boolean): Buffer => {
    const head = Buffer.from("6000000000002c40", "hex");
    head.writeUInt16BE(8 + to - from, 4);
    const fragment = Buffer.of(17, 0, 0, 0, 0, 0, 0, id);
    fragment.writeUInt16BE(from | Number(isMore), 2);
    return ethernet(IPV6, Buffer.concat([head, addresses, fragment, udp.subarray(from, to)]));
  };
  return [part(0, 24, true), part(24, udp.length, false)];
}

async function listener(t: TestContext, type: "udp4" | "udp6"): Promise<{ socket: Socket; heard: string[] }> {
  const socket = createSocket(type);
  socket.bind(53, type === "udp4" ? VIP : VIP6);
  await once(socket, "listening");
  t.after(() => socket.close());
  const heard: string[] = [];
  socket.on("message", (message, { address, port }) =>
    heard.push(`${address} ${port} ${message.toString()}`),
  );
  return { socket, heard };
}
const holder = (t: TestContext, lookup: () => Destination | undefined): HeldFragments => {
  const held = createHeldFragments({ lookup, ownMac: () => mac(OWN_MAC) });
  t.after(() => held.close());
  return held;
};
const payload = Buffer.from("0123456789abcdef0123456789abcdef");

for (const [type, fragmentsOf, client] of [
  ["udp4", fragments4, "11.0.0.1"],
  ["udp6", fragments6, "2001:db8::c"],
] as const) {
  test(`${type}: a first fragment from the wire and a later one through lo make one packet`, async (t) => {
    const { heard } = await listener(t, type);
    const held = holder(t, () => ({ kind: "self" }));
    const expected = `${client} 4000 ${payload.toString()}`;
    const [first, later] = fragmentsOf(payload, 1);
    wire.send(first);
    held.take({ key: Buffer.alloc(40), ifindex: own, frame: later });
    await until("the packet is whole", () => heard.length === 1);
    // The kernel takes the other order as well.
    const [second, before] = fragmentsOf(payload, 2);
    held.take({ key: Buffer.alloc(40), ifindex: own, frame: before });
    await until("it is sent", () => held.counts().sent === 2);
    wire.send(second);
    await until("the packet is whole", () => heard.length === 2);
    assert.deepEqual(heard, [expected, expected]);
  });
}

test("it does so with a strict reverse-path filter, too, if that is loose on lo", async (t) => {
  setReversePathFilter(1, 2);
  t.after(() => setReversePathFilter(0, 0));
  const { heard } = await listener(t, "udp4");
  const held = holder(t, () => ({ kind: "self" }));
  const [first, later] = fragments4(payload, 3);
  wire.send(first);
  held.take({ key: Buffer.alloc(40), ifindex: own, frame: later });
  await until("the packet is whole", () => heard.length === 1);
});

test("a fragment goes to its node once the first one has been seen, by its own interface", async (t) => {
  let destination: Destination | undefined;
  let looks = 0;
  const held = holder(t, () => {
    looks++;
    return destination;
  });
  const [, later] = fragments4(payload, 4);
  held.take({ key: Buffer.alloc(40), ifindex: own, frame: later });
  await until("it was looked for", () => looks >= 3);
  assert.equal(held.counts().sent, 0);
  destination = { kind: "node", mac: mac("02:00:00:00:00:12") };
  const sent: string[] = [];
  const expected = Buffer.concat([mac("02:00:00:00:00:12"), mac(OWN_MAC), later.subarray(12)]).toString(
    "hex",
  );
  await until("it is on the wire", () => {
    for (let frame = wire.receive(); frame !== undefined; frame = wire.receive())
      sent.push(frame.toString("hex"));
    return sent.includes(expected);
  });
  assert.deepEqual(held.counts(), { sent: 1, expired: 0, dropped: 0 });
});

test("what waits too long, has no room, or is not taken by the kernel is counted", async (t) => {
  let destination: Destination | undefined;
  const held = holder(t, () => destination);
  const [, later] = fragments4(payload, 5);
  const fragment = { key: Buffer.alloc(40), ifindex: own, frame: later };
  for (let i = 0; i < 514; i++) held.take(fragment);
  assert.equal(held.counts().dropped, 2);
  await until("they have expired", () => held.counts().expired === 512);
  destination = { kind: "node", mac: mac(CLIENT_MAC) };
  ip("link set eth0 down");
  t.after(() => ip("link set eth0 up"));
  held.take(fragment);
  await until("it was tried", () => held.counts().dropped === 3);
  assert.equal(held.counts().sent, 0);
});
