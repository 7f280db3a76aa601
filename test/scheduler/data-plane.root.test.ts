/** The loader: what it leaves on the machine, what it takes over, and what it refuses. */
import assert from "node:assert/strict";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { openLease } from "../../net/lease.ts";
import { openBpfObject } from "../../net/libbpf.ts";
import { OBJECT_FILE } from "../../scheduler/bpf/build.ts";
import { detachDataPlane, loadUnattached } from "../../scheduler/data-plane.ts";
import { LEASE } from "../../scheduler/layout.ts";
import { cable, directory, ip, namespace, pinDirectory, sh, startIn, until } from "./network.ts";

interface Said {
  readonly attachment?: { readonly mode: string; readonly reason: string };
  readonly adoption?: { readonly kind: string; readonly reason?: string };
  readonly first?: number;
  readonly size?: number;
  readonly code?: string;
  readonly text?: string;
}
const PROCESS = join(import.meta.dirname, "plane-process.ts");

function lab(t: TestContext): { netns: string; pinDir: string } {
  const netns = namespace(t, "n");
  cable([netns, "eth0", "02:00:00:00:00:11"], [netns, "eth1", "02:00:00:00:00:12"]);
  return { netns, pinDir: pinDirectory(t) };
}

/** Opens a data plane in a process of its own, and resolves with what it said. */
async function open(
  t: TestContext,
  { netns, pinDir }: { netns: string; pinDir: string },
  { size = 1024, mode = "auto", mark = "" } = {},
): Promise<{ child: ChildProcess; said: Said }> {
  const child = startIn(t, netns, [PROCESS, "eth0", pinDir, String(size), mode, mark]);
  assert.ok(child.stdout);
  const [line] = await once(child.stdout, "data");
  return { child, said: JSON.parse(String(line)) };
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
const xdpOf = (netns: string): string => /xdp\w*/.exec(ip("-n", netns, "-o link show eth0"))?.[0] ?? "none";

test("the program outlives a loader that is killed, and the next one takes over link and table", async (t) => {
  const place = lab(t);
  const first = await open(t, place, { mark: "258" });
  assert.deepEqual(first.said.adoption, { kind: "new" });
  assert.equal(first.said.first, 0xffff, "nobody owns a bucket of a new table");
  await kill(first.child);
  assert.equal(xdpOf(place.netns), "xdpgeneric");
  const second = await open(t, place);
  assert.deepEqual(second.said.adoption, { kind: "adopted" });
  assert.equal(second.said.first, 258);
  assert.equal(second.said.attachment?.mode, "generic");
  await kill(second.child);
  detachDataPlane(place.pinDir);
});

test("a table of another size is replaced, and that is said; the lease stays the same page", async (t) => {
  const place = lab(t);
  const first = await open(t, place, { mark: "258" });
  const lease = openLease(place.pinDir);
  lease.set(12_345n);
  await kill(first.child);
  const second = await open(t, place, { size: 2048 });
  assert.deepEqual(second.said.adoption, { kind: "replaced", reason: "buckets has 1024 entries, not 2048" });
  assert.equal(second.said.size, 2048);
  assert.equal(second.said.first, 0xffff);
  assert.equal(openLease(place.pinDir).get(), 12_345n);
  lease.close();
  await kill(second.child);
  detachDataPlane(place.pinDir);
});

test("pins that are no longer whole are replaced", async (t) => {
  const place = lab(t);
  const first = await open(t, place);
  await kill(first.child);
  sh("rm", [join(place.pinDir, "nodes")]);
  const second = await open(t, place);
  assert.deepEqual(second.said.adoption, { kind: "replaced", reason: "some of the pinned maps are missing" });
  await kill(second.child);
  detachDataPlane(place.pinDir);
});

test("detaching leaves neither program nor pin nor map, and may be done twice", async (t) => {
  const place = lab(t);
  const { child } = await open(t, place);
  await kill(child);
  const pins = readdirSync(place.pinDir).filter((pin) => pin !== "link");
  const ids = pins.map((pin) => pinnedMapId(join(place.pinDir, pin)));
  assert.ok(ids.length > 5);
  detachDataPlane(place.pinDir);
  assert.equal(xdpOf(place.netns), "none");
  assert.equal(existsSync(place.pinDir), false);
  // The kernel frees maps a little later.
  await until("all maps are gone", () => !ids.some((id) => existingMapIds().has(id)));
  detachDataPlane(place.pinDir);
});

test("a link whose interface has gone is replaced by one on the new interface", async (t) => {
  const place = lab(t);
  const first = await open(t, place, { mark: "258" });
  await kill(first.child);
  ip("-n", place.netns, "link del eth0");
  cable([place.netns, "eth0", "02:00:00:00:00:11"], [place.netns, "eth1", "02:00:00:00:00:12"]);
  const second = await open(t, place);
  assert.equal(second.said.first, 258, "the table is kept");
  assert.equal(xdpOf(place.netns), "xdpgeneric");
  await kill(second.child);
  detachDataPlane(place.pinDir);
});

test("another XDP program on the interface is left alone, and named", async (t) => {
  const place = lab(t);
  const other = await open(t, place);
  const said = (await open(t, { ...place, pinDir: pinDirectory(t) })).said;
  assert.equal(said.code, "XDP_BUSY");
  assert.match(said.text ?? "", /another XDP program \(id \d+\) is on eth0.*ip link set dev eth0 xdp off/);
  assert.equal(xdpOf(place.netns), "xdpgeneric");
  await kill(other.child);
  detachDataPlane(place.pinDir);
});

test("on veth auto means generic, with the reason; native comes when it is asked for", async (t) => {
  const place = lab(t);
  const auto = await open(t, place);
  assert.equal(auto.said.attachment?.mode, "generic");
  assert.match(auto.said.attachment?.reason ?? "", /veth needs a program on the peer/);
  await kill(auto.child);
  const native = await open(t, place, { mode: "native" });
  assert.equal(native.said.attachment?.mode, "native");
  assert.equal(xdpOf(place.netns), "xdp");
  await kill(native.child);
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

test("services, VIPs and nodes are replaced as a whole, and read back", () => {
  const plane = loadUnattached(256);
  const service = { address: "192.0.2.1", port: 80, transport: "tcp", vserver: 1 } as const;
  plane.setServices([service, { ...service, port: 81 }]);
  plane.setServices([{ ...service, port: 81 }]);
  plane.setVips(["192.0.2.1", "2001:db8::1"]);
  plane.setVips([]);
  plane.setNode(7, Uint8Array.of(2, 0, 0, 0, 0, 7), { isUp: true, isSelf: false });
  assert.deepEqual(plane.readNode(7), { mac: Uint8Array.of(2, 0, 0, 0, 0, 7), isUp: true, isSelf: false });
  const dump = sh("bpftool", ["-j", "map", "dump", "id", mapId(plane.object.mapFd("vservers"))]);
  assert.equal(JSON.parse(dump).length, 1);
  assert.throws(() => plane.setVips(["nonsense"]), { code: "ADDRESS_INVALID" });
  assert.throws(() => plane.setHashKey(new Uint8Array(8)), RangeError);
  plane.close();
});

test("the lease page has the layout that the failover process writes", () => {
  assert.deepEqual({ ...LEASE }, { size: 8, until_ns: 0 });
});

function mapId(fd: number): string {
  const text = sh("cat", [`/proc/${process.pid}/fdinfo/${fd}`]);
  return /map_id:\s*(\d+)/.exec(text)?.[1] ?? "";
}
