import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { formatIp, parseIp, parseMac, type IpAddress } from "../../conf/address.ts";
import { announcements, icmp6Checksum, neighbourQuestion, readNeighbour } from "../../net/frames.ts";

function ip(text: string): IpAddress {
  const address = parseIp(text);
  assert.ok(address);
  return address;
}
function macOf(text: string): Uint8Array {
  const mac = parseMac(text);
  assert.ok(mac);
  return mac;
}
const mac = macOf("02:00:00:00:00:11");
const hex = (frame: Buffer | undefined): string | undefined => frame?.toString("hex");

test("an ARP question is broadcast with the asker's address", () => {
  assert.equal(
    hex(neighbourQuestion(mac, ip("192.0.2.1"), ip("192.0.2.9"))),
    "ffffffffffff020000000011" +
      "0806" +
      "0001080006040001" +
      "020000000011c0000201" +
      "000000000000c0000209",
  );
  assert.equal(hex(neighbourQuestion(mac, undefined, ip("192.0.2.9")))?.slice(56, 64), "00000000");
});

test("a neighbour solicitation goes to the solicited-node group with a right checksum", () => {
  const frame = neighbourQuestion(mac, ip("2001:db8::1"), ip("2001:db8::aa:bbcc"));
  assert.ok(frame);
  assert.equal(hex(frame)?.slice(0, 12), "3333ffaabbcc");
  assert.equal(formatIp(frame.subarray(38, 54), 6), "ff02::1:ffaa:bbcc");
  assert.equal(icmp6Checksum(frame.subarray(14)), 0);
  assert.equal(neighbourQuestion(mac, undefined, ip("2001:db8::1")), undefined);
});

test("an IPv4 address is announced as request and as reply", () => {
  const [request, reply, ...more] = announcements(mac, ip("192.0.2.100"));
  assert.equal(more.length, 0);
  const self = "020000000011c0000264";
  assert.equal(hex(request), `ffffffffffff02000000001108060001080006040001${self}000000000000c0000264`);
  assert.equal(hex(reply), `ffffffffffff02000000001108060001080006040002${self}ffffffffffffc0000264`);
});

test("an IPv6 address is announced by an advertisement that overrides and is not solicited", () => {
  const [frame, ...more] = announcements(mac, ip("2001:db8::64"));
  assert.ok(frame);
  assert.equal(more.length, 0);
  assert.equal(hex(frame)?.slice(0, 12), "333300000001");
  assert.equal(frame.readUInt32BE(58), 0x20000000);
  assert.equal(icmp6Checksum(frame.subarray(14)), 0);
});

test("what an announcement says is read back, whatever the address and MAC", () => {
  const addresses = fc
    .tuple(fc.boolean(), fc.uint8Array({ minLength: 16, maxLength: 16 }))
    .map(([isIpv4, bytes]) => ip(formatIp(bytes, isIpv4 ? 4 : 6)));
  const macs = fc.uint8Array({ minLength: 5, maxLength: 5 }).map((tail) => Uint8Array.of(2, ...tail));
  fc.assert(
    fc.property(addresses, macs, (address, mac) => {
      for (const frame of announcements(mac, address)) {
        assert.deepEqual(readNeighbour(frame), { address: address.text, mac });
      }
    }),
  );
});

test("a frame that is cut or changed is not believed, and nonsense is no neighbour", () => {
  const [frame] = announcements(mac, ip("2001:db8::64"));
  assert.ok(frame);
  for (let length = 0; length < frame.length; length++) {
    assert.equal(readNeighbour(frame.subarray(0, length)), undefined);
  }
  for (let at = 22; at < frame.length; at++) {
    const changed: Buffer = Buffer.from(frame);
    changed[at]! ^= 0x10;
    assert.equal(readNeighbour(changed), undefined, `byte ${at}`);
  }
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => void readNeighbour(Buffer.from(bytes))),
  );
  const group = announcements(Uint8Array.of(1, 0, 0, 0, 0, 1), ip("192.0.2.1"));
  assert.equal(readNeighbour(group[0]!), undefined);
});
