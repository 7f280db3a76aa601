/** Native XDP with frames of 9,000 bytes, over a bridge: out to another node, and up the own stack. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { test, type TestContext } from "node:test";
import { compileBpf } from "../../scheduler/bpf/build.ts";
import { detachDataPlane } from "../../scheduler/plane/data-plane.ts";
import { directory, ip, namespace, pinDirectory, startIn } from "./network.ts";
import type { Order, Said } from "./plane-process.ts";

const MTU_BYTES = 9000;
/** What fits into one frame behind the IPv4 and UDP headers. */
const DATAGRAM_BYTES = MTU_BYTES - 28;
const DATAGRAMS = 50;
const VIP = "10.77.0.100";
const SCHEDULER_MAC = "02:00:00:00:00:11";
const NODE_MAC = "02:00:00:00:00:12";
const here = (file: string): string => join(import.meta.dirname, file);

interface Net {
  readonly switch: string;
  readonly client: string;
  readonly scheduler: string;
  readonly node: string;
}

/** A client, a scheduler and a node, each with eth0 on one bridge. */
function network(t: TestContext): Net {
  const net = {
    switch: namespace(t, "s"),
    client: namespace(t, "c"),
    scheduler: namespace(t, "x"),
    node: namespace(t, "w"),
  };
  ip("-n", net.switch, "link add name sw0 type bridge");
  const hosts = [
    ["client", "02:00:00:00:00:99", 1],
    ["scheduler", SCHEDULER_MAC, 2],
    ["node", NODE_MAC, 3],
  ] as const;
  for (const [name, mac, last] of hosts) {
    const host = `eth0 netns ${net[name]} mtu ${MTU_BYTES} address ${mac}`;
    ip(`link add ${host} type veth peer name ${name} netns ${net.switch} mtu ${MTU_BYTES}`);
    ip("-n", net.switch, `link set ${name} master sw0 up`);
    ip("-n", net[name], "link set eth0 up");
    ip("-n", net[name], `addr add 10.77.0.${last}/24 dev eth0`);
  }
  ip("-n", net.switch, "link set sw0 up");
  for (const holder of [net.scheduler, net.node]) ip("-n", holder, `addr add ${VIP}/32 dev lo`);
  ip("-n", net.client, `neigh add ${VIP} lladdr ${SCHEDULER_MAC} dev eth0 nud permanent`);
  return net;
}

/** Native mode on veth loses frames unless the other end has a program, and wants whole checksums. */
async function preparePeer(t: TestContext, net: Net): Promise<void> {
  const folder = directory(t);
  const source = join(folder, "pass.bpf.c");
  const text =
    '__attribute__((section("xdp.frags"), used)) int pass_all(void *ctx) { return 2 + 0 * !ctx; }\n';
  writeFileSync(
    source,
    `int pass_all(void *ctx);\n${text}char LICENSE[] __attribute__((section("license"), used)) = "Dual BSD/GPL";\n`,
  );
  compileBpf(source, join(folder, "pass.bpf.o"));
  const peer = startIn(t, net.switch, [here("xdp-peer-process.ts"), "scheduler", join(folder, "pass.bpf.o")]);
  assert.ok(peer.stdout);
  await once(peer.stdout, "data");
}

async function exchange(t: TestContext, net: Net): Promise<string> {
  const args = ["ask", VIP, "53", String(DATAGRAM_BYTES), String(DATAGRAMS)];
  const client = startIn(t, net.client, [here("udp-process.ts"), ...args]);
  assert.ok(client.stdout);
  const [answer] = await once(client.stdout, "data");
  return String(answer).trim();
}

async function echo(t: TestContext, netns: string): Promise<void> {
  const { stdout } = startIn(t, netns, [here("udp-process.ts"), "echo", VIP, "53"]);
  assert.ok(stdout);
  await once(stdout, "data");
}

/** Starts a data plane that gives all to one node; `said` reads on. */
function schedule(t: TestContext, net: Net, pinDir: string, owner: number) {
  const order: Order = { mode: "native", serve: { vip: VIP, owner, mac: NODE_MAC } };
  const args = [here("plane-process.ts"), "eth0", pinDir, JSON.stringify(order)];
  const child = startIn(t, net.scheduler, args);
  assert.ok(child.stdout);
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
  const said = async (): Promise<Said> => JSON.parse(String((await lines.next()).value));
  return { child, said };
}

test("jumbo frames go natively to another node and up the own stack, and the answers come back", async (t) => {
  const net = network(t);
  const pinDir = pinDirectory(t);
  await preparePeer(t, net);
  await echo(t, net.node);
  const answered = exchange(t, net);
  const first = schedule(t, net, pinDir, 2);
  const { planes, text } = await first.said();
  assert.equal(planes?.[0]?.mode, "native", text);
  const { scheduled_ms = Infinity } = await first.said();
  t.diagnostic(`a frame was scheduled ${Math.round(scheduled_ms)} ms after the loading began`);
  assert.ok(scheduled_ms < 10_000);
  assert.equal(await answered, String(DATAGRAMS), "from the other node");
  first.child.kill("SIGKILL");
  await once(first.child, "exit");

  await echo(t, net.scheduler);
  const second = schedule(t, net, pinDir, 1);
  await second.said();
  assert.equal(await exchange(t, net), String(DATAGRAMS), "from the own stack");
  await second.said();
  second.child.kill("SIGKILL");
  await once(second.child, "exit");
  detachDataPlane(pinDir);
});
