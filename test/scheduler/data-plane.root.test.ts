/** The loader: what it leaves on the machine, what it takes over, and what it refuses. */
import assert from "node:assert/strict";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { test, type TestContext } from "node:test";
import { CONTROL_LAYOUT } from "../../net/control-page.ts";
import { LEASE_LAYOUT, openLease } from "../../net/lease.ts";
import { openBpfObject } from "../../net/libbpf.ts";
import { openPeersPage, PEERS_LAYOUT } from "../../net/peers-page.ts";
import { OBJECT_FILE } from "../../scheduler/bpf/build.ts";
import { detachDataPlane, loadUnattached } from "../../scheduler/plane/data-plane.ts";
import {
  CHANNEL_COUNT,
  CONTROL,
  GROUP_COUNT,
  LEASE,
  NODE,
  NODE_COUNT,
  NODE_REACHABLE,
  NODE_UP,
  PEER,
} from "../../scheduler/layout.ts";
import { cable, directory, ip, namespace, pinDirectory, sh, startIn, until } from "./network.ts";
import type { Order, Said } from "./plane-process.ts";

const PROCESS = join(import.meta.dirname, "plane-process.ts");
/** What all maps may lock at default sizes. */
const LOCKED_BYTES = 8 * 2 ** 20;

interface Place {
  readonly netns: string;
  readonly pinDir: string;
  /** With commas between. */
  readonly interfaces: string;
}

/** A namespace with two segments: eth0 and eth1, whose other ends are in it, too. */
function lab(t: TestContext): Place {
  const netns = namespace(t, "n");
  cable([netns, "eth0", "02:00:00:00:00:11"], [netns, "far0", "02:00:00:00:00:12"]);
  cable([netns, "eth1", "02:00:00:00:00:21"], [netns, "far1", "02:00:00:00:00:22"]);
  return { netns, pinDir: pinDirectory(t), interfaces: "eth0" };
}

interface Opened {
  readonly child: ChildProcess;
  readonly said: Said;
  /** The next thing that it says. */
  readonly next: () => Promise<Said>;
}

/** Opens a data plane in a process of its own, and resolves with what it said. */
async function open(t: TestContext, place: Place, order: Order = {}): Promise<Opened> {
  const child = startIn(t, place.netns, [PROCESS, place.interfaces, place.pinDir, JSON.stringify(order)]);
  assert.ok(child.stdout);
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
  const next = async (): Promise<Said> => {
    const { value } = await lines.next();
    return JSON.parse(String(value));
  };
  return { child, said: await next(), next };
}
async function kill(child: ChildProcess): Promise<void> {
  child.kill("SIGKILL");
  await once(child, "exit");
}
function pinnedMapId(pin: string): number {
  return JSON.parse(sh("bpftool", ["-j", "map", "show", "pinned", pin])).id;
}
function existingMapIds(): Set<number> {
  const maps: { id: number }[] = JSON.parse(sh("bpftool", ["-j", "map", "show"]));
  return new Set(maps.map(({ id }) => id));
}
const xdpOf = (netns: string, name = "eth0"): string =>
  /xdp\w*/.exec(ip("-n", netns, `-o link show ${name}`))?.[0] ?? "none";

test("the program outlives a loader that is killed, and the next one takes over link and table", async (t) => {
  const place = lab(t);
  const first = await open(t, place, { mark: 258, epoch: 7, macs: ["02:00:00:00:00:99"] });
  assert.deepEqual(first.said.adoption, { kind: "new" });
  assert.equal(first.said.first, 0xffffff, "nobody owns a bucket of a new table");
  await kill(first.child);
  assert.equal(xdpOf(place.netns), "xdpgeneric");
  const { child, said } = await open(t, place);
  assert.deepEqual(said.adoption, { kind: "adopted" });
  assert.deepEqual([said.first, said.epoch, said.macs], [258, 7, ["020000000099"]]);
  assert.equal(said.planes?.[0]?.mode, "generic");
  await kill(child);
  detachDataPlane(place.pinDir);
});

test("a running table keeps its size, whatever is asked for, and that is said", async (t) => {
  const place = lab(t);
  const first = await open(t, place, { mark: 258 });
  await kill(first.child);
  const { child, said } = await open(t, place, { size: 2048 });
  assert.deepEqual(said.adoption, { kind: "adopted", keptTableSize: 1024 });
  assert.deepEqual([said.size, said.first], [1024, 258]);
  await kill(child);
  detachDataPlane(place.pinDir);
});

test("traffic rows that are too few are replaced, and nothing else; more than enough are kept", async (t) => {
  const place = lab(t);
  const first = await open(t, place, { mark: 258, trafficRows: 512 });
  await kill(first.child);
  const more = await open(t, place, { trafficRows: 1000 });
  assert.deepEqual(more.said.adoption, { kind: "adopted" });
  assert.deepEqual([more.said.trafficRows, more.said.first], [1024, 258]);
  await kill(more.child);
  const less = await open(t, place, { trafficRows: 64 });
  assert.equal(less.said.trafficRows, 1024);
  await kill(less.child);
  detachDataPlane(place.pinDir);
});

test("pins that are no longer whole are replaced, and that is said; the lease stays the same page", async (t) => {
  const place = lab(t);
  const first = await open(t, place, { mark: 258 });
  const lease = openLease(place.pinDir);
  lease.setUntil(12_345n);
  lease.raiseEpoch(0, 258);
  await kill(first.child);
  sh("rm", [join(place.pinDir, "nodes-0")]);
  const { child, said } = await open(t, place, { size: 2048 });
  assert.deepEqual(said.adoption, { kind: "replaced", reason: "the pinned map nodes-0 is missing" });
  assert.deepEqual([said.size, said.first], [2048, 0xffffff]);
  lease.tell({ stands: true, side: 0 });
  const found = openLease(place.pinDir);
  assert.deepEqual([found.until_ns(), found.epoch()], [12_345n, 258]);
  lease.setUntil(54_321n);
  assert.equal(found.until_ns(), 54_321n, "who has it open and who opens it anew write the same page");
  found.close();
  lease.close();
  await kill(child);
  detachDataPlane(place.pinDir);
});

test("maps of another layout are replaced", async (t) => {
  const place = lab(t);
  const first = await open(t, place, { mark: 258 });
  await kill(first.child);
  const pin = join(place.pinDir, "control-0");
  const [entry] = JSON.parse(sh("bpftool", ["-j", "map", "dump", "pinned", pin]));
  const value = [...entry.value];
  value[CONTROL.layout] = "0x63";
  sh("bpftool", ["map", "update", "pinned", pin, "key", "0", "0", "0", "0", "value", ...value]);
  const { child, said } = await open(t, place);
  assert.deepEqual(said.adoption, { kind: "replaced", reason: "the pinned layout is 99, not 5" });
  await kill(child);
  detachDataPlane(place.pinDir);
});

test("a lease page of another layout is not taken over, with other maps or alone", async (t) => {
  const place = lab(t);
  const pin = join(place.pinDir, "lease");
  const makeOld = (): void => {
    const kind = [
      "type",
      "array",
      "key",
      "4",
      "value",
      "8",
      "entries",
      "1",
      "name",
      "lease",
      "flags",
      "0x400",
    ];
    sh("bpftool", ["map", "create", pin, ...kind]);
  };
  mkdirSync(place.pinDir);
  makeOld();
  const first = await open(t, place, { mark: 258, epoch: 7 });
  assert.deepEqual([first.said.adoption, first.said.epoch], [{ kind: "new" }, 0]);
  await kill(first.child);
  sh("rm", [pin]);
  makeOld();
  const { child, said } = await open(t, place);
  assert.deepEqual(said.adoption, {
    kind: "replaced",
    reason: `lease entries have 8 bytes, not ${LEASE.size}`,
  });
  assert.deepEqual([said.first, said.epoch], [0xffffff, 0]);
  await kill(child);
  detachDataPlane(place.pinDir);
});

test("each interface has its program and its nodes; the table is one", async (t) => {
  const place = { ...lab(t), interfaces: "eth0,eth1" };
  const macs = ["02:00:00:00:00:a0", "02:00:00:00:00:a1"];
  const first = await open(t, place, { mark: 258, epoch: 3, macs });
  assert.deepEqual(
    first.said.planes?.map(({ interface: name, mode }) => [name, mode]),
    [
      ["eth0", "generic"],
      ["eth1", "generic"],
    ],
  );
  assert.deepEqual([xdpOf(place.netns), xdpOf(place.netns, "eth1")], ["xdpgeneric", "xdpgeneric"]);
  const pages = [openPeersPage(place.pinDir, 0, 0), openPeersPage(place.pinDir, 1, 1)];
  assert.deepEqual(
    pages.map((page) => Buffer.from(page.macOf(9) ?? []).toString("hex")),
    ["0200000000a0", "0200000000a1"],
  );
  assert.equal(pages[0]?.macOf(8), undefined);
  for (const page of pages) page.close();
  await kill(first.child);
  const { child, said } = await open(t, place);
  assert.deepEqual([said.first, said.epoch, said.macs], [258, 3, ["0200000000a0", "0200000000a1"]]);
  await kill(child);
  detachDataPlane(place.pinDir);
  assert.deepEqual([xdpOf(place.netns), xdpOf(place.netns, "eth1")], ["none", "none"]);
});

test("interfaces come, go and change places while the table is kept", async (t) => {
  const place = lab(t);
  const known = { mark: 258, macs: ["02:00:00:00:00:a0", "02:00:00:00:00:a1"] };
  await kill((await open(t, place, known)).child);
  const two = await open(t, { ...place, interfaces: "eth0,eth1" }, known);
  assert.deepEqual(two.said.adoption, { kind: "adopted" });
  assert.deepEqual(two.said.macs, ["0200000000a0", "000000000000"]);
  await kill(two.child);
  const swapped = await open(t, { ...place, interfaces: "eth1,eth0" });
  assert.deepEqual(swapped.said.adoption, { kind: "adopted" });
  assert.equal(swapped.said.first, 258);
  assert.deepEqual(
    swapped.said.macs,
    ["000000000000", "000000000000"],
    "nodes of another segment are forgotten",
  );
  await kill(swapped.child);
  const one = await open(t, { ...place, interfaces: "eth1" });
  assert.equal(one.said.first, 258);
  assert.deepEqual([xdpOf(place.netns), xdpOf(place.netns, "eth1")], ["none", "xdpgeneric"]);
  assert.deepEqual(
    readdirSync(place.pinDir).filter((pin) => pin.endsWith("-1")),
    [],
  );
  await kill(one.child);
  detachDataPlane(place.pinDir);
});

test("detaching leaves neither program nor pin nor map, and may be done twice", async (t) => {
  const place = { ...lab(t), interfaces: "eth0,eth1" };
  const { child } = await open(t, place);
  await kill(child);
  const pins = readdirSync(place.pinDir).filter((pin) => !pin.startsWith("link"));
  const ids = pins.map((pin) => pinnedMapId(join(place.pinDir, pin)));
  assert.ok(ids.length > 15);
  detachDataPlane(place.pinDir);
  assert.deepEqual([xdpOf(place.netns), xdpOf(place.netns, "eth1")], ["none", "none"]);
  assert.equal(existsSync(place.pinDir), false);
  // The kernel frees maps a little later.
  await until("all maps are gone", () => !ids.some((id) => existingMapIds().has(id)));
  detachDataPlane(place.pinDir);
  assert.throws(() => openPeersPage(place.pinDir, 0, 0), { code: "NO_DATA_PLANE" });
});

test("detaching leaves pins that are not ours", async (t) => {
  const place = lab(t);
  const { child } = await open(t, place);
  await kill(child);
  sh("bpftool", [
    "map",
    "create",
    join(place.pinDir, "theirs"),
    "type",
    "array",
    "key",
    "4",
    "value",
    "4",
    "entries",
    "1",
    "name",
    "theirs",
  ]);
  detachDataPlane(place.pinDir);
  assert.deepEqual(readdirSync(place.pinDir), ["theirs"]);
});

test("a link whose interface has gone is replaced by one on the new interface", async (t) => {
  const place = lab(t);
  const first = await open(t, place, { mark: 258, macs: ["02:00:00:00:00:a0"] });
  await kill(first.child);
  ip("-n", place.netns, "link del eth0");
  cable([place.netns, "eth0", "02:00:00:00:00:11"], [place.netns, "far0", "02:00:00:00:00:12"]);
  const { child, said } = await open(t, place);
  assert.deepEqual([said.first, said.macs], [258, ["0200000000a0"]], "table and nodes are kept");
  assert.equal(xdpOf(place.netns), "xdpgeneric");
  await kill(child);
  detachDataPlane(place.pinDir);
});

test("another XDP program on the interface is left alone, and named", async (t) => {
  const place = lab(t);
  const other = await open(t, place);
  const { said } = await open(t, { ...place, pinDir: pinDirectory(t) });
  assert.equal(said.code, "XDP_BUSY");
  assert.match(said.text ?? "", /another XDP program \(id \d+\) is on eth0.*ip link set dev eth0 xdp off/);
  assert.equal(xdpOf(place.netns), "xdpgeneric");
  await kill(other.child);
  detachDataPlane(place.pinDir);
});

test("on veth auto means generic, with the reason; native comes when it is asked for", async (t) => {
  const place = lab(t);
  const auto = await open(t, place);
  assert.equal(auto.said.planes?.[0]?.mode, "generic");
  assert.match(auto.said.planes?.[0]?.reason ?? "", /veth needs a program on the peer/);
  await kill(auto.child);
  const native = await open(t, place, { mode: "native" });
  assert.equal(native.said.planes?.[0]?.mode, "native");
  assert.equal(xdpOf(place.netns), "xdp");
  await kill(native.child);
  detachDataPlane(place.pinDir);
});

test("at default sizes all maps together lock less than 8 MB", async (t) => {
  const place = { ...lab(t), interfaces: "eth0,eth1" };
  const { child, said } = await open(t, place, { size: 65_536 });
  t.diagnostic(`${said.locked_bytes} bytes with two interfaces`);
  assert.ok((said.locked_bytes ?? Infinity) <= LOCKED_BYTES, `${said.locked_bytes} bytes`);
  assert.ok((said.locked_bytes ?? 0) > 65_536 * 8, "the kernel tells");
  await kill(child);
  detachDataPlane(place.pinDir);
});

test("what can't be opened says why", async (t) => {
  const place = lab(t);
  const notBpf = await open(t, { ...place, pinDir: join(directory(t), "pins") });
  assert.equal(notBpf.said.code, "PIN_DIR");
  assert.match(notBpf.said.text ?? "", /mount -t bpf/);
  ip("-n", place.netns, "link del eth0");
  assert.equal((await open(t, place)).said.code, "NO_INTERFACE");
});

test("a program that the verifier refuses comes with the verifier's words", (t) => {
  const source = join(directory(t), "bad.bpf.c");
  const object = source.replace(".c", ".o");
  writeFileSync(
    source,
    'struct c { unsigned data, end; };\nint scheduler(struct c *c) __attribute__((section("xdp"), used));\nint scheduler(struct c *c) { return *(int *)(long)c->data; }\n',
  );
  sh("clang", ["-O2", "-g", "-target", "bpf", "-mcpu=v3", "-c", source, "-o", object]);
  const bad = openBpfObject(object, "scheduler");
  t.after(() => bad.close());
  assert.throws(() => bad.load(), { code: "BPF_LOAD_FAILED", message: /invalid access to packet/ });
});

test("an object that is none, or lacks the program, is an error", () => {
  assert.throws(() => openBpfObject("/etc/hostname", "scheduler"), /bpf_object__open_file/);
  const object = openBpfObject(OBJECT_FILE, "nothing");
  assert.throws(() => object.programFd("nothing"), { code: "BPF_OBJECT_INVALID" });
  object.close();
});

test("services, VIPs, groups and nodes are replaced as a whole, and read back", () => {
  const plane = loadUnattached(256);
  const vserver = { index: 1, tableBase: 0, tableSize: 256, group: 0, trafficBase: 0, isAddressOnly: false };
  const service = { address: "192.0.2.1", port: 80, transport: "tcp", vserver } as const;
  plane.setServices([service, { ...service, port: 81 }, { ...service, address: "2001:db8::1" }]);
  plane.setServices([{ ...service, port: 81 }]);
  plane.setVips(["192.0.2.1", "2001:db8::1"]);
  plane.setVips([]);
  const state = { isUp: true, isSelf: false, isReachable: false, isDraining: true, isScattered: true };
  const node = { mac: Uint8Array.of(2, 0, 0, 0, 0, 7), slot: 63, ...state };
  plane.setNode(GROUP_COUNT - 1, 254, node);
  assert.deepEqual(plane.readNode(GROUP_COUNT - 1, 254), node);
  plane.setNodeState(GROUP_COUNT - 1, 254, { ...state, isUp: false, isReachable: true });
  assert.deepEqual(plane.readNode(GROUP_COUNT - 1, 254), { ...node, isUp: false, isReachable: true });
  const group = { identity: 2n ** 63n + 1n, tableBase: 512, tableSize: 4096 };
  plane.writeGroup(64, group);
  assert.deepEqual(plane.readGroup(64), group);
  assert.deepEqual(
    [countOf(plane, "vservers"), countOf(plane, "vservers6"), countOf(plane, "vips")],
    [1, 0, 0],
  );
  assert.throws(() => plane.setVips(["nonsense"]), { code: "ADDRESS_INVALID" });
  assert.throws(() => plane.setHashKey(new Uint8Array(8)), RangeError);
  plane.setTableVersion(2 ** 40);
  plane.setHasPrevious(true);
  assert.deepEqual(plane.facts(), { hasTable: false, hasPrevious: true, tableVersion: 2 ** 40 });
  plane.setHasTable(true);
  plane.setHasPrevious(false);
  assert.deepEqual(plane.facts(), { hasTable: true, hasPrevious: false, tableVersion: 2 ** 40 });
  assert.equal(plane.lease.epoch(), 0);
  assert.deepEqual(plane.traffic(10_000), { packets: 0, bytes: 0, connections: 0 });
  plane.close();
});

function countOf(plane: ReturnType<typeof loadUnattached>, map: string): number {
  const text = sh("cat", [`/proc/${process.pid}/fdinfo/${plane.object.mapFd(map)}`]);
  const id = /map_id:\s*(\d+)/.exec(text)?.[1] ?? "";
  return JSON.parse(sh("bpftool", ["-j", "map", "dump", "id", id])).length;
}

test("pages that other processes map have the layout that they expect", () => {
  assert.deepEqual({ ...LEASE }, LEASE_LAYOUT);
  const { size, table_version, turned_ns, hand_over_to, is_merging } = CONTROL;
  assert.deepEqual({ size, table_version, turned_ns, hand_over_to, is_merging }, CONTROL_LAYOUT);
  assert.deepEqual(PEERS_LAYOUT.peer, PEER);
  const { size: nodeSize, mac, flags } = NODE;
  assert.deepEqual(PEERS_LAYOUT.node, { size: nodeSize, mac, flags, up: NODE_UP, reachable: NODE_REACHABLE });
  assert.deepEqual([PEERS_LAYOUT.rows, PEERS_LAYOUT.channels], [NODE_COUNT, CHANNEL_COUNT]);
});
