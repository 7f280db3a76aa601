/** ICMP echo in a network namespace of the test's own. Needs root. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { parseIp, type IpAddress } from "../../conf/address.ts";
import { SysError } from "../../net/ffi.ts";
import { openIcmpSocket, type IcmpSocket } from "../../net/icmp-socket.ts";
import { readInterface } from "../../net/interface.ts";
import { openPacketSocket, type PacketSocket } from "../../net/packet-socket.ts";
import { until } from "../scheduler/network.ts";
import { enterOwnNetwork, ip } from "./network-namespace.ts";

const PEER_MAC = "02:00:00:00:00:07";
const ETHERTYPE_IPV4 = 0x0800;
const address = (text: string): IpAddress => parseIp(text)!;
let icmp: IcmpSocket;
let wire: PacketSocket;

before(() => {
  enterOwnNetwork();
  ip(`link add name eth0 type veth peer name wire address ${PEER_MAC}`);
  ip("link set eth0 up");
  ip("link set wire up");
  ip("addr add 192.0.2.1/24 dev eth0");
  for (const host of [7, 8]) ip(`neigh add 192.0.2.${host} lladdr ${PEER_MAC} dev eth0 nud permanent`);
  wire = openPacketSocket(readInterface("wire").ifindex, ETHERTYPE_IPV4);
  icmp = openIcmpSocket();
});
after(() => {
  icmp.close();
  wire.close();
});

/** The next echo request on the wire. */
async function question(): Promise<Buffer> {
  let frame: Buffer | undefined;
  await until("a question is on the wire", () => (frame = wire.receive()) !== undefined);
  return frame!;
}
/** The answer to a question. The change of one byte is not made up for in the checksum: raw sockets don't look at it. */
function answerTo(question: Buffer, from = 7): Buffer {
  const frame = Buffer.concat([question.subarray(6, 12), question.subarray(0, 6), question.subarray(12)]);
  question.copy(frame, 26, 30, 34);
  question.copy(frame, 30, 26, 30);
  frame[29] = from;
  frame[34] = 0;
  // The IPv4 header's, which a changed source makes wrong.
  frame.writeUInt16BE(0, 24);
  let sum = 0;
  for (let at = 14; at < 34; at += 2) sum += frame.readUInt16BE(at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  frame.writeUInt16BE(~sum & 0xffff, 24);
  return frame;
}

test("hosts that answer are told from those that don't, IPv4 and IPv6, all at once", async () => {
  const asked = ["127.0.0.1", "::1", "192.0.2.1", "127.0.0.9", "192.0.2.8", "127.0.0.1"];
  const answers = await Promise.all(asked.map((text) => icmp.echo(address(text), 500)));
  assert.deepEqual(answers, [true, true, true, true, false, true]);
});

test("an address that can't be reached is an error", async () => {
  await assert.rejects(
    icmp.echo(address("198.51.100.1"), 500),
    (error) => error instanceof SysError && error.code === "ENETUNREACH",
  );
  // It is not awaited any more.
  assert.equal(await icmp.echo(address("127.0.0.1"), 500), true);
});

test("only the answer counts: from the address that was asked, to this very question", async () => {
  while (wire.receive() !== undefined);
  let isAnswered: boolean | undefined;
  const asked = icmp.echo(address("192.0.2.7"), 10_000).then((answer) => (isAnswered = answer));
  const frame = await question();
  const changed = (at: number): Buffer => {
    const answer = answerTo(frame);
    answer[at]! ^= 1;
    return answer;
  };
  wire.send(answerTo(frame, 8));
  // The identifier, the sequence number, and the first and last byte of what is to be given back.
  for (const at of [39, 41, 42, 57]) wire.send(changed(at));
  wire.send(answerTo(frame).subarray(0, 57));
  assert.equal(await icmp.echo(address("127.0.0.1"), 10_000), true);
  assert.equal(isAnswered, undefined);
  wire.send(answerTo(frame));
  assert.equal(await asked, true);
});

test("who is being asked when the socket is closed counts as silent", async () => {
  const other = openIcmpSocket();
  const asked = other.echo(address("192.0.2.7"), 60_000);
  other.close();
  assert.equal(await asked, false);
});
