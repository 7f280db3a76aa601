import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { MAP_CHANGES, NOBODY } from "../../../conf/limits.ts";
import { bucketCells, mapChanges } from "../../../status/dashboard/bucket-cells.ts";
import type { ArrayPicture, NodeSlice } from "../../../status/dashboard/messages.ts";
import { colourAt } from "../../../status/dashboard/page/colours.ts";
import { frameReader } from "../../../status/dashboard/page/frames.ts";
import { arrayPicture, type Gathered } from "../../../status/dashboard/picture.ts";
import { nodeSlice, readSlice } from "../../../status/dashboard/slice.ts";
import { facts, servedNode } from "../haproxy/node.ts";
import { scheduler, vservers } from "../samples.ts";
import { array, config, slice } from "./sources.ts";

const gathered = (...slices: readonly NodeSlice[]): Gathered => ({
  slices: new Map(slices.map((one) => [one.number, one])),
  silences: new Map([[3, "no answer"]]),
});
const picture = (now: Gathered, before?: Gathered): ArrayPicture =>
  arrayPicture(config, config.nodes[1]!, now, before, 1000);

describe("a picture", () => {
  test("tells what happened between two moments, per second", () => {
    const shown = picture(gathered(slice(1, 12), slice(2, 14)), gathered(slice(1, 10), slice(2, 12)));
    const rates = { accepted: 10, requests: 100, errors: 1, bytes_in: 1000, bytes_out: 50_000 };
    const [one, , three] = shown.nodes;
    assert.deepEqual([one!.rates, one!.latency_ms, one!.is_scheduler], [rates, 2, true]);
    assert.deepEqual(
      [three!.rates, three!.silence, three!.state, three!.buckets],
      [null, "no answer", "up", 300],
    );
    const [web, dns] = shown.vservers;
    assert.deepEqual([web!.open, web!.rates?.requests, web!.flows], [14, 200, null]);
    assert.deepEqual([dns!.rates, dns!.flows], [null, { connections: 5, packets: 50, bytes: 500 }]);
    const [server] = shown.web_servers;
    assert.deepEqual(
      [
        server!.requests,
        server!.active,
        server!.waiting,
        server!.latency_ms,
        server!.up_for,
        server!.seen_by,
      ],
      [200, 6, 2, 1.5, 2, 2],
    );
    assert.deepEqual([shown.scheduler, shown.epoch, shown.shown_by], [1, "3 by node 1", "node2"]);
  });

  test("has no rates at first, after a new life, and none below zero", () => {
    assert.equal(picture(gathered(slice(1, 10))).nodes[0]!.rates, null);
    const reborn = slice(1, 1, { life: "another" });
    assert.equal(picture(gathered(reborn), gathered(slice(1, 10))).nodes[0]!.rates, null);
    const fallen = slice(1, 12, { counts: slice(1, 1).counts, time_count: 0 });
    const [node] = picture(gathered(fallen), gathered(slice(1, 10))).nodes;
    assert.deepEqual([node!.rates?.requests, node!.latency_ms], [0, null]);
  });

  test("is the later scheduler's where two think that they are, and this node's own where nobody does", () => {
    const two = gathered(slice(1, 1), slice(2, 1, { scheduler: 2, array: array(true, 1025) }));
    assert.deepEqual([picture(two).scheduler, picture(two).epoch], [2, "4 by node 1"]);
    const nobody = gathered(slice(2, 1, { scheduler: null, array: array(false, 769) }));
    assert.deepEqual([picture(nobody).scheduler, picture(nobody).nodes[0]!.state], [null, "up"]);
    const nothing = picture(gathered());
    assert.deepEqual([nothing.nodes[0]!.state, nothing.nodes[0]!.silence], ["unknown", "not asked yet"]);
  });

  test("shows a web server as the node that is worst off does", () => {
    const [server] = slice(2, 1).web_servers;
    const down = { ...server!, state: "down", reason: "refused", is_up: false };
    const [shown] = picture(gathered(slice(1, 1), slice(2, 1, { web_servers: [down] }))).web_servers;
    assert.deepEqual([shown!.state, shown!.reason, shown!.up_for, shown!.seen_by], ["down", "refused", 1, 2]);
  });
});

describe("a node's slice", () => {
  const { published, observed } = servedNode();
  const view = {
    facts,
    published: [
      ...published,
      { hello: { process: "scheduler", worker: 0, pid: 9 } as const, body: scheduler() },
    ],
    workers: [],
    absent: [],
    vservers: [],
    pools: [],
    observed,
    now_ms: Date.now(),
  };
  const told = (isOwn: boolean, is_scheduling: boolean): NodeSlice =>
    nodeSlice({ view, vservers: { ...vservers(), is_scheduling }, life: "1-2", events: [], isOwn });

  test("holds what it knows of the array when it schedules, or shows it itself", () => {
    assert.equal(told(false, false).array, null);
    assert.equal(told(true, false).array?.is_scheduling, false);
    assert.deepEqual(told(true, false).array?.to_vservers, {});
    const { array } = told(false, true);
    assert.equal(array?.nodes[1]?.state, "down");
    assert.ok(Object.keys(array?.to_vservers ?? {}).length > 0);
  });

  test("is read back as it was, and nothing that is none", () => {
    const own = told(true, true);
    assert.deepEqual(readSlice(JSON.stringify(own), own.number), JSON.parse(JSON.stringify(own)));
    for (const odd of ["", "{", "[]", "null", "{}", JSON.stringify({ ...own, events: 1 })])
      assert.equal(readSlice(odd, own.number), undefined);
    assert.equal(readSlice(JSON.stringify(own), own.number + 1), undefined);
  });
});

describe("the map", () => {
  test("has a cell for each bucket, or the most of a stretch", () => {
    const owners = Uint8Array.of(1, 1, 2, NOBODY, NOBODY, NOBODY, NOBODY, 3);
    assert.deepEqual(bucketCells(owners), { stretch: 1, cells: owners });
    assert.deepEqual(bucketCells(owners, 4), { stretch: 2, cells: Uint8Array.of(1, 2, NOBODY, 3) });
    assert.deepEqual(bucketCells(owners, 3), { stretch: 3, cells: Uint8Array.of(1, NOBODY, 3) });
  });

  test("changes are what makes the one of the other", () => {
    const table = fc.uint8Array({ minLength: 50, maxLength: 50 });
    fc.assert(
      fc.property(table, table, (one, other) => {
        const changes = mapChanges(bucketCells(one), bucketCells(other))!;
        const made = Uint8Array.from(one);
        for (let i = 0; i < changes.length; i += 2) made[changes[i]!] = changes[i + 1]!;
        assert.deepEqual(made, other);
      }),
    );
    const many = new Uint8Array(MAP_CHANGES + 1);
    assert.equal(mapChanges(bucketCells(many), bucketCells(many.map(() => 1))), undefined);
    assert.equal(mapChanges(bucketCells(many), bucketCells(new Uint8Array(3))), undefined);
  });
});

describe("the page", () => {
  test("reads events in whatever pieces they come", () => {
    const text = 'event: array\ndata: {"a":1}\n\nevent: map\ndata: [1,2]\n\n: nothing\n\n';
    fc.assert(
      fc.property(fc.array(fc.nat(text.length), { maxLength: 8 }), (cuts) => {
        const take = frameReader();
        const places = [0, ...cuts.toSorted((a, b) => a - b), text.length];
        const frames = places.slice(1).flatMap((end, i) => take(text.slice(places[i], end)));
        assert.deepEqual(frames, [
          { event: "array", data: '{"a":1}' },
          { event: "map", data: "[1,2]" },
        ]);
      }),
    );
    assert.throws(() => frameReader()("x".repeat(9_000_000)));
  });

  test("gives each of 64 nodes a colour of its own", () => {
    const colours = Array.from({ length: 64 }, (_, place) => colourAt(place));
    assert.equal(new Set(colours.map(String)).size, 64);
    assert.ok(colours.flat().every((part) => Number.isInteger(part) && part >= 0 && part <= 255));
  });
});
