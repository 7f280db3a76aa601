/** Who claims a VIP, as real frames on a real segment tell it. Needs root. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { formatIp, formatMac, parseIp } from "../../conf/address.ts";
import { watchVips, type VipClaim, type VipWatch } from "../../failover/vip-watch.ts";
import { announcements, ETHERTYPE_ARP, ETHERTYPE_IPV6, neighbourQuestion } from "../../net/frames.ts";
import { readInterface } from "../../net/interface.ts";
import {
  ONLY_ADVERTISEMENTS,
  openPacketSocket,
  SEND_ONLY,
  type FilterStep,
} from "../../net/packet-socket.ts";
import { enterOwnNetwork, ip } from "../net/network-namespace.ts";
import { until } from "../scheduler/network.ts";

enterOwnNetwork();
ip("link add near type veth peer name far");
for (const name of ["near", "far"]) ip(`link set ${name} up`);

const vips = ["198.18.0.100", "2001:db8::100"].map((text) => parseIp(text)!);
const near = readInterface("near");
const far = readInterface("far");
const segment = { ...near, addresses: [parseIp("198.18.1.1")!] };
const ADVERTISEMENT = 136;
const SOLICITATION = 135;
const ONLY_SOLICITATIONS = ONLY_ADVERTISEMENTS.map(([code, isTrue, isFalse, constant]): FilterStep => [
  code,
  isTrue,
  isFalse,
  constant === ADVERTISEMENT ? SOLICITATION : constant,
]);

/** What it has seen by a time: so many claims as there are to be, which may be late on a busy machine, and no more. */
async function claims(watch: VipWatch, now_ms: number, count: number): Promise<readonly VipClaim[]> {
  const seen: VipClaim[] = [];
  await until(`${count} claims`, () => seen.push(...watch.turn(now_ms)) >= count);
  await sleep(20);
  return [...seen, ...watch.turn(now_ms)];
}

test("announcements of VIPs are claims of who sent them, all else is passed over", async (t) => {
  const watch = watchVips([segment], vips);
  const socket = openPacketSocket(far.ifindex, SEND_ONLY);
  t.after(() => [watch, socket].forEach((one) => one.close()));
  watch.turn(0);
  for (const vip of vips) for (const frame of announcements(far.mac, vip)) socket.send(frame);
  const other = parseIp("198.18.0.99")!;
  for (const frame of announcements(far.mac, other)) socket.send(frame);
  socket.send(neighbourQuestion(far.mac, other, vips[0]!)!);
  socket.send(new Uint8Array(60).fill(255));
  const seen = await claims(watch, 1, 3);
  assert.deepEqual(
    seen.map(({ slot, vip, mac }) => [slot, vip, formatMac(mac)]),
    [
      [0, "198.18.0.100", formatMac(far.mac)],
      [0, "198.18.0.100", formatMac(far.mac)],
      [0, "2001:db8::100", formatMac(far.mac)],
    ],
  );
});

test("it asks who has a VIP, once a second, and for each in turn", async (t) => {
  const watch = watchVips([{ ...near, addresses: [parseIp("198.18.1.1")!, parseIp("fe80::1")!] }], vips);
  const ears = [
    openPacketSocket(far.ifindex, ETHERTYPE_ARP),
    openPacketSocket(far.ifindex, ETHERTYPE_IPV6, ONLY_SOLICITATIONS),
  ];
  t.after(() => [watch, ...ears].forEach((one) => one.close()));
  const heardNow = (): string[] =>
    ears.flatMap((ear) => {
      const frame = ear.receive();
      if (frame === undefined) return [];
      const isArp = frame.readUInt16BE(12) === ETHERTYPE_ARP;
      const asked = isArp ? formatIp(frame.subarray(38, 42), 4) : formatIp(frame.subarray(62, 78), 6);
      // The kernel asks for its own new addresses.
      return vips.some(({ text }) => text === asked) ? [asked] : [];
    });
  for (const [now_ms, asked] of [
    [0, ["198.18.0.100"]],
    [999, []],
    [1000, ["2001:db8::100"]],
    [1999, []],
    [2000, ["198.18.0.100"]],
  ] as const) {
    watch.turn(now_ms);
    const heard: string[] = [];
    await until("it asks", () => heard.push(...heardNow()) >= asked.length);
    await sleep(20);
    assert.deepEqual([...heard, ...heardNow()], asked, `after ${now_ms} ms`);
  }
});

test("more than a turn's share waits for the next one, and a cable that is out ends nothing", async (t) => {
  // Opened before the watch, it hears each frame after the watch has.
  const ear = openPacketSocket(near.ifindex, ETHERTYPE_ARP);
  const watch = watchVips([segment], vips.slice(0, 1));
  const socket = openPacketSocket(far.ifindex, SEND_ONLY);
  t.after(() => {
    for (const one of [watch, socket, ear]) one.close();
    ip("link set near up");
  });
  watch.turn(0);
  for (let i = 0; i < 50; i++) for (const frame of announcements(far.mac, vips[0]!)) socket.send(frame);
  let come = 0;
  await until("all have come", () => {
    while (ear.receive() !== undefined) come++;
    return come >= 100;
  });
  assert.equal(watch.turn(1).length, 64);
  assert.equal(watch.turn(2).length, 36);
  ip("link set near down");
  watch.turn(2000);
  assert.deepEqual(await claims(watch, 2001, 0), []);
  assert.equal(watch.failures, 1);
});
