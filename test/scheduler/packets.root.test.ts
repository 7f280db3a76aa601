/**
 * What the XDP program does to each kind of frame: a table of packet in, verdict and packet out, run through
 * BPF_PROG_TEST_RUN against the committed object, and once more against a build that counts which way every `if`
 * went, so that no branch is left out.
 */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { Worker } from "node:worker_threads";
import * as fc from "fast-check";
import { NOBODY } from "../../conf/limits.ts";
import { mapShared } from "../../net/ffi.ts";
import { testRun } from "../../net/libbpf.ts";
import { compileBpf, OBJECT_FILE, SOURCE_FILE } from "../../scheduler/bpf/build.ts";
import { loadUnattached, type BucketEvent } from "../../scheduler/data-plane.ts";
import { LEASE } from "../../scheduler/layout.ts";
import { nextOf, ownerOf, wordOf } from "../../scheduler/table.ts";
import * as f from "./frames.ts";
import { PASS, rows, syn, TX, v4, v6, type Row } from "./packet-rows.ts";

const SIZE = 1024;
const COVERAGE_LINES = 1024;
type Loaded = ReturnType<typeof load>;

function load(objectFile: string) {
  const plane = loadUnattached(SIZE, objectFile);
  plane.setOwnMac(f.mac(f.OWN_MAC));
  plane.setHashKey(Buffer.from(Array.from({ length: 48 }, (_, i) => (i * 73 + 41) & 255)));
  plane.setVips([f.VIP, f.VIP6]);
  plane.setServices(
    [f.VIP, f.VIP6].flatMap((address) => [
      { address, port: 80, transport: "tcp", vserver: 5 } as const,
      { address, port: 53, transport: "udp", vserver: 6 } as const,
    ]),
  );
  plane.setMembers([1, 2, 3, 4].map((number) => f.mac(f.macOfNode(number))));
  for (const number of [1, 2, 3, 4]) {
    plane.setNode(number, f.mac(f.macOfNode(number)), { isUp: number !== 4, isSelf: number === 1 });
  }
  const lease = mapShared(plane.object.mapFd(".data.lease"), LEASE.size);
  const words = new BigUint64Array(lease.buffer, 0, 1);
  return {
    ...plane,
    setLease: (isHeld: boolean) => (words[0] = isHeld ? process.hrtime.bigint() + 3_600_000_000_000n : 0n),
    close: () => {
      lease.unmap();
      plane.close();
    },
  };
}

function fill(plane: Loaded, [owner, next]: readonly [number, number]): void {
  for (let i = 0; i < plane.buckets.length; i += 2) plane.buckets[i] = wordOf(owner, next);
}
function set(plane: Loaded, row: Row): void {
  fill(plane, row.bucket ?? [2, 3]);
  plane.setScheduling(row.isScheduling ?? true);
  plane.setLease(row.hasLease ?? true);
  for (const packet of row.before ?? []) testRun(plane.programFd, packet);
}

function expected(row: Row): Buffer {
  if (row.out !== undefined) return row.out;
  if (row.verdict !== TX) return row.packet;
  const out = Buffer.from(row.packet);
  f.mac(f.macOfNode(row.node ?? 0)).copy(out, 0);
  f.mac(f.OWN_MAC).copy(out, 6);
  return out;
}

function grown(before: Record<string, number>, after: Record<string, number>): string[] {
  return Object.keys(after).filter((name) => after[name] !== before[name]);
}

function check(plane: Loaded, row: Row): void {
  set(plane, row);
  const before = plane.counters();
  const traffic = row.node === undefined ? undefined : plane.trafficOf(row.node);
  const { verdict, out } = testRun(plane.programFd, row.packet);
  assert.equal(verdict, row.verdict);
  assert.equal(out.toString("hex"), expected(row).toString("hex"));
  assert.deepEqual(grown(before, plane.counters()), row.counts ?? []);
  if (row.node === undefined || traffic === undefined) return;
  const { packets, bytes } = plane.trafficOf(row.node);
  assert.deepEqual([packets - traffic.packets, bytes - traffic.bytes], [1, row.packet.length]);
}

/** All there is to be tried against one build of the program. */
function suite(name: string, makeObject: () => string, hasCoverage: boolean): void {
  describe(name, () => {
    let plane: Loaded;
    before(() => (plane = load(makeObject())));
    after(() => plane.close());

    for (const row of rows) test(row.name, () => check(plane, row));

    test("a frame cut at any length is passed untouched, or treated as the whole one", () => {
      for (const row of rows) {
        let isWhole = false;
        for (let length = 14; length < row.packet.length; length++) {
          set(plane, row);
          const cut = row.packet.subarray(0, length);
          const { verdict, out } = testRun(plane.programFd, cut);
          const where = `${row.name}, ${length} of ${row.packet.length} bytes`;
          if (verdict === PASS && row.verdict !== PASS) {
            assert.equal(isWhole, false, where);
            assert.equal(out.toString("hex"), cut.toString("hex"), where);
          } else {
            assert.equal(verdict, row.verdict, where);
            isWhole = true;
          }
        }
      }
    });

    test("nonsense is never forwarded, and changed frames only when they are for a VIP", () => {
      fill(plane, [2, 3]);
      plane.setScheduling(true);
      plane.setLease(true);
      const noise = fc.uint8Array({ minLength: 2, maxLength: 200 }).map((bytes) => {
        return Buffer.concat([f.mac(f.OWN_MAC), f.mac(f.CLIENT_MAC), Buffer.from(bytes)]);
      });
      const change = fc.tuple(fc.nat(199), fc.integer({ min: 0, max: 255 }));
      const changed = fc
        .tuple(fc.constantFrom(...rows), fc.array(change, { maxLength: 4 }))
        .map(([row, changes]) => {
          const packet = Buffer.from(row.packet);
          for (const [at, value] of changes) packet[at % packet.length] = value;
          return packet;
        });
      fc.assert(
        fc.property(
          fc.oneof({ arbitrary: noise, weight: 1 }, { arbitrary: changed, weight: 3 }),
          (packet) => {
            const { verdict, out } = testRun(plane.programFd, packet);
            if (verdict === PASS) assert.equal(out.toString("hex"), packet.toString("hex"));
            else assert.ok(isForVip(packet), `verdict ${verdict} for ${packet.toString("hex")}`);
          },
        ),
        { numRuns: 5000 },
      );
    });

    test("a claim is told with bucket, owner, former owner and vserver, once", () => {
      plane.consumeEvents(() => undefined);
      fill(plane, [NOBODY, 3]);
      testRun(plane.programFd, v4(6, syn));
      testRun(plane.programFd, v4(6, syn));
      const events: BucketEvent[] = [];
      assert.equal(
        plane.consumeEvents((event) => events.push(event)),
        1,
      );
      const [event] = events;
      assert.ok(event);
      assert.deepEqual({ ...event, bucket: 0 }, { bucket: 0, owner: 3, previous: NOBODY, vserver: 5 });
      const word = plane.buckets[event.bucket * 2] ?? 0;
      assert.deepEqual([ownerOf(word), nextOf(word)], [3, 3]);
      assert.ok((plane.buckets[event.bucket * 2 + 1] ?? 0) > 0, "the access is noted");
    });

    test("flows spread over all buckets, and both families", () => {
      for (const makePacket of [
        (i: number) => v4(6, f.tcp(1024 + i, 80)),
        (i: number) => v4(6, syn, { from: `11.0.${i >> 8}.${i & 255}` }),
        (i: number) => v6(6, f.tcp(1024 + i, 80)),
        (i: number) => v6(6, syn, { from: `2001:db8::${i.toString(16)}` }),
        (i: number) => v6(6, syn, { from: `2001:db8:${i.toString(16)}::1` }),
      ]) {
        fill(plane, [NOBODY, 2]);
        for (let i = 0; i < SIZE * 2; i++) testRun(plane.programFd, makePacket(i));
        const used = Array.from({ length: SIZE }, (_, i) => plane.buckets[i * 2]).filter(
          (word) => word !== wordOf(NOBODY, 2),
        );
        // Random throws would hit 1 - 1/e² = 86 % of the buckets.
        assert.ok(used.length > SIZE * 0.75, `${used.length} of ${SIZE} buckets`);
      }
      plane.consumeEvents(() => undefined);
    });

    test("a full ring loses events, counts them, and schedules on", () => {
      const before = plane.counters()["event_lost"] ?? 0;
      const packet = v4(6, syn);
      for (let i = 0; i < 40_000 && plane.counters()["event_lost"] === before; i += 1000) {
        for (let j = 0; j < 1000; j++) {
          fill1(plane, packet);
          assert.equal(testRun(plane.programFd, packet).verdict, TX);
        }
      }
      assert.ok((plane.counters()["event_lost"] ?? 0) > before);
      assert.ok(plane.consumeEvents(() => undefined) > 1000);
    });

    test("when two are at a bucket, one decision counts", { timeout: 120_000 }, async () => {
      const packet = v4(6, syn);
      const bucket = bucketOf(plane, packet);
      const workerData = { programFd: plane.programFd, packet };
      const hammer = new Worker(join(import.meta.dirname, "hammer.ts"), { workerData });
      const verdicts: number[] = [];
      hammer.on("message", (verdict: number) => verdicts.push(verdict));
      const isEnough = (): boolean =>
        verdicts.length > 0 && !(hasCoverage && missed(plane).some((line) => line.includes("seen != word")));
      // The program finds an unassigned bucket and, at times, another word than the one it had read.
      while (!isEnough()) {
        for (let i = 0; i < 100_000; i++)
          plane.buckets[bucket * 2] = i & 1 ? wordOf(NOBODY, 1) : wordOf(1, 1);
        plane.consumeEvents(() => undefined);
        await new Promise((resolve) => setImmediate(resolve));
      }
      await hammer.terminate();
      assert.ok(verdicts.every((verdict) => verdict === PASS));
    });

    if (hasCoverage) test("every branch has gone both ways", () => assert.deepEqual(missed(plane), []));
  });
}

/** The bucket of a packet's flow. */
function bucketOf(plane: Loaded, packet: Buffer): number {
  fill(plane, [NOBODY, 1]);
  testRun(plane.programFd, packet);
  for (let i = 0; i < SIZE; i++) if (plane.buckets[i * 2] === wordOf(1, 1)) return i;
  throw new Error("no bucket was claimed");
}

let lastBucket: { packet: Buffer; bucket: number } | undefined;
/** Unassigns the one bucket of a packet. */
function fill1(plane: Loaded, packet: Buffer): void {
  if (lastBucket?.packet !== packet) lastBucket = { packet, bucket: bucketOf(plane, packet) };
  plane.buckets[lastBucket.bucket * 2] = wordOf(NOBODY, 3);
}

/** A second, simple reader of frames: addressed to a VIP, or asking for one. */
function isForVip(frame: Buffer): boolean {
  let at = 12;
  for (let tags = 0; tags < 2 && [f.VLAN, f.QINQ].includes(frame.readUInt16BE(at)); tags++) at += 4;
  const type = frame.readUInt16BE(at);
  const has = (address: string, offset: number): boolean => {
    const bytes = f.ip(address);
    return frame.subarray(at + 2 + offset, at + 2 + offset + bytes.length).equals(bytes);
  };
  if (type === f.ARP) return has(f.VIP, 24);
  if (type === f.IPV4) return has(f.VIP, 16);
  return type === f.IPV6 && (has(f.VIP6, 24) || has(f.VIP6, 48));
}

/** Source lines whose `if` never went one way; those that only the verifier asks for are left out. */
function missed(plane: Loaded): string[] {
  const mapping = mapShared(plane.object.mapFd(".data.coverage"), COVERAGE_LINES * 8);
  const counts = Uint32Array.from(new Uint32Array(mapping.buffer, 0, COVERAGE_LINES * 2));
  mapping.unmap();
  const lines = readFileSync(SOURCE_FILE, "utf8").split("\n");
  assert.ok(lines.length < COVERAGE_LINES);
  const branches = lines.flatMap((line, i) =>
    /\bif \(/.test(line) && !line.includes("for the verifier") ? [i + 1] : [],
  );
  assert.ok(branches.length > 50);
  return branches.flatMap((line) =>
    [0, 1].flatMap((way) => {
      const text = lines[line - 1]?.trim() ?? "";
      return counts[line * 2 + way] === 0 ? [`${line}: ${text} never ${way === 1 ? "true" : "false"}`] : [];
    }),
  );
}

const folder = mkdtempSync(join(tmpdir(), "dlba-coverage-"));
after(() => rmSync(folder, { recursive: true }));
suite("the committed object", () => OBJECT_FILE, false);
suite(
  "a build that counts its branches",
  () => {
    const object = join(folder, "coverage.bpf.o");
    compileBpf(SOURCE_FILE, object, ["DLBA_COVERAGE"]);
    return object;
  },
  true,
);
