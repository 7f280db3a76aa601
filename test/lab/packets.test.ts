import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { parseIp } from "../../conf/address.ts";
import { type Datagram, synWriter, udpFragments } from "../../lab/packets.ts";

const sourceMac = Buffer.from("020000000001", "hex");
const targetMac = Buffer.from("020000000002", "hex");

function address(text: string): NonNullable<ReturnType<typeof parseIp>> {
  const parsed = parseIp(text);
  assert.ok(parsed);
  return parsed;
}

/** The ones' complement sum over all parts, folded: 0xffff over what holds its right checksum. */
function sum(...parts: Uint8Array[]): number {
  const bytes = Buffer.concat(
    parts.map((part) => (part.length % 2 === 0 ? part : Buffer.concat([part, Buffer.alloc(1)]))),
  );
  let total = 0;
  for (let i = 0; i < bytes.length; i += 2) total += bytes.readUInt16BE(i);
  while (total > 0xffff) total = (total & 0xffff) + (total >>> 16);
  return total;
}

const u16 = (value: number): Buffer => Buffer.of(value >> 8, value & 255);

test("every SYN has right checksums, its source and its port", () => {
  const ends = { sourceMac, targetMac, source: address("10.0.0.0"), target: address("198.18.0.100") };
  const { frame, write } = synWriter(ends, 80);
  const ipv4Number = fc.integer({ min: 0x0a000000, max: 0x0affffff });
  const word = fc.integer({ min: 0, max: 0xffffffff });
  fc.assert(
    fc.property(ipv4Number, fc.integer({ min: 1, max: 65_535 }), word, (source, port, sequence) => {
      write(source, port, sequence);
      const ip = frame.subarray(14, 34);
      const tcp = frame.subarray(34);
      assert.equal(sum(ip), 0xffff);
      assert.equal(sum(ip.subarray(12, 20), u16(6), u16(tcp.length), tcp), 0xffff);
      assert.equal(ip.readUInt32BE(12), source);
      assert.deepEqual([tcp.readUInt16BE(0), tcp.readUInt16BE(2), tcp[13]], [port, 80, 2]);
    }),
  );
});

/** Puts fragments together as a receiver does: where they belong, whatever their order. */
function reassembled(frames: readonly Buffer[], family: 4 | 6): Buffer {
  const pieces = frames.map((frame) => {
    const ip = frame.subarray(14);
    if (family === 6)
      return { at: ip.readUInt16BE(42) & 0xfff8, more: (ip[43]! & 1) === 1, bytes: ip.subarray(48) };
    const word = ip.readUInt16BE(6);
    return { at: (word & 0x1fff) * 8, more: (word & 0x2000) !== 0, bytes: ip.subarray(20) };
  });
  const last = pieces.find(({ more }) => !more);
  assert.ok(last);
  const whole = Buffer.alloc(last.at + last.bytes.length);
  for (const { at, bytes } of pieces) bytes.copy(whole, at);
  assert.equal(pieces.filter(({ more }) => !more).length, 1);
  return whole;
}

for (const [source, target] of [
  ["198.18.0.1", "198.18.0.100"],
  ["fd00:198:18::1", "fd00:198:18::100"],
] as const) {
  test(`a datagram from ${source} is whole again after its fragments, with a right checksum`, () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 9000 }), (payload) => {
        const ends = { sourceMac, targetMac, source: address(source), target: address(target) };
        const datagram: Datagram = { ...ends, sourcePort: 40_000, targetPort: 7001, payload, id: 77 };
        const frames = udpFragments(datagram);
        const { family } = datagram.source;
        const udp = reassembled(frames, family);
        const addresses = [datagram.source, datagram.target].map(({ bytes }) =>
          bytes.subarray(0, family === 4 ? 4 : 16),
        );
        assert.deepEqual(udp.subarray(8), Buffer.from(payload));
        assert.deepEqual([udp.readUInt16BE(0), udp.readUInt16BE(2)], [40_000, 7001]);
        assert.equal(sum(...addresses, u16(17), u16(udp.length), udp), 0xffff);
        for (const frame of frames) {
          assert.ok(frame.length <= 1514);
          if (family === 4) assert.equal(sum(frame.subarray(14, 34)), 0xffff);
        }
      }),
      { numRuns: 30 },
    );
  });
}
