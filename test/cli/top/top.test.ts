import assert from "node:assert/strict";
import { describe, test } from "node:test";
import * as fc from "fast-check";
import { readLook, readStat } from "../../../cli/top/read.ts";
import {
  bytesText,
  screenLines,
  VIEWS,
  type Look,
  type NodeLine,
  type StatLine,
  type TopState,
} from "../../../cli/top/screen.ts";
import { FIRST, onKey, onLook } from "../../../cli/top/state.ts";
import { EVERYTHING, statPieces } from "../../../status/haproxy/stat-output.ts";
import { statRows } from "../../../status/haproxy/stat-rows.ts";
import { servedNode } from "../../status/haproxy/node.ts";

const line = (change: Partial<StatLine> = {}): StatLine => ({
  pxname: "shop",
  svname: "FRONTEND",
  type: 0,
  status: "OPEN",
  scur: 5,
  stot: 50,
  bin: 1000,
  bout: 100_000,
  req_tot: 500,
  hrsp_4xx: 4,
  hrsp_5xx: 3,
  econ: 0,
  eresp: 0,
  rtime: 0,
  ...change,
});
const node = (change: Partial<NodeLine> = {}): NodeLine => ({
  name: "node1",
  number: 1,
  state: "up",
  reason: "",
  ip_groups: 32_768,
  open_connections: 12,
  hits: 345,
  avg_response_time_us: 2500,
  ...change,
});
const INFO = {
  Version: "1.2.3",
  Array: "shop",
  Node: "node1",
  Role: "scheduler",
  Scheduler: "node1",
  CurrConns: 5,
  Workers: 2,
  Workers_accepting: 2,
};
const look = (change: Partial<Look> = {}): Look => ({
  at_ms: 10_000,
  time: "03:04:05",
  info: INFO,
  nodes: [
    node(),
    node({ name: "node2", state: "draining", reason: "3 connections left", open_connections: null }),
  ],
  stat: [
    line(),
    line({ pxname: "slow", req_tot: 7 }),
    line({ pxname: "app", svname: "web1", type: 2, status: "UP", econ: 2, eresp: 1, rtime: 12 }),
    line({ pxname: "app", svname: "BACKEND", type: 1 }),
  ],
  ...change,
});
const later = look({
  at_ms: 12_000,
  stat: [
    line({ req_tot: 600, bout: 100_000 + 4 * 1_048_576 }),
    line({ pxname: "slow", req_tot: 10_007 }),
    ...look().stat.slice(2),
  ],
});
const state = (change: Partial<TopState> = {}): TopState => ({
  ...FIRST,
  look: later,
  before: look(),
  ...change,
});
const SIZE = { columns: 110, rows: 9 };

describe("the screen of dlba top", () => {
  test("vservers with their rates since the look before", () => {
    assert.deepEqual(screenLines(state(), SIZE), [
      "dlba 1.2.3  array shop  node node1 (scheduler)  scheduler node1  03:04:05",
      "connections 5   requests 5050/s   to clients 2.0 MiB/s   workers 2 of 2",
      "",
      "VSERVER  STATUS  NOW  REQ/S    OUT/S  REQUESTS  4XX  5XX",
      "shop     OPEN      5     50  2.0 MiB       600    4    3",
      "slow     OPEN      5   5000      0 B     10007    4    3",
      "",
      "",
      "q quit   1 nodes   2 vservers   3 web servers   s sort by traffic",
    ]);
  });

  test("by traffic, the busiest first", () => {
    const lines = screenLines(state({ isByTraffic: true }), SIZE);
    assert.match(lines[4]!, /^slow /);
  });

  test("web servers with what failed and their mean response time", () => {
    const lines = screenLines(state({ view: "web" }), SIZE);
    assert.deepEqual(lines.slice(3, 5), [
      "WEB SERVER  STATUS  NOW  REQ/S  OUT/S  REQUESTS  4XX  5XX  FAILED  MS",
      "app/web1    UP        5    0.0    0 B       500    4    3       3  12",
    ]);
  });

  test("nodes with their states; where there is no table it says so", () => {
    const lines = screenLines(state({ view: "nodes" }), SIZE);
    assert.deepEqual(lines.slice(3, 6), [
      "NODE   STATE                         BUCKETS  CONNS  HITS   MS",
      "node1  up                              32768     12   345  2.5",
      "node2  draining, 3 connections left    32768      -   345  2.5",
    ]);
    const none = screenLines(state({ view: "nodes", look: look({ nodes: undefined }) }), SIZE);
    assert.match(none[4]!, /^no table: /);
  });

  test("before the second look there are no rates, and before the first nothing", () => {
    assert.match(screenLines(state({ before: undefined }), SIZE)[4]!, /^shop +OPEN +5 +- +- +600/);
    assert.deepEqual(screenLines(FIRST, { columns: 80, rows: 3 }), [
      "dlba top",
      "",
      "q quit   1 nodes   2 vservers   3 web servers   s sort by traffic",
    ]);
  });

  test("what does not fit is counted, and trouble stands where the keys do", () => {
    const stat = Array.from({ length: 100 }, (_, i) => line({ pxname: `v${i}` }));
    const lines = screenLines(state({ look: look({ stat }), before: undefined, trouble: "no answer" }), SIZE);
    assert.equal(lines.at(-2), "… 97 more");
    assert.equal(lines.at(-1), "no answer   q quit");
  });

  test("any size of terminal is filled exactly", () => {
    const sizes = fc.record({
      columns: fc.integer({ min: 1, max: 200 }),
      rows: fc.integer({ min: 1, max: 60 }),
    });
    fc.assert(
      fc.property(sizes, fc.constantFrom(...VIEWS), fc.boolean(), (size, view, isByTraffic) => {
        const lines = screenLines(state({ view, isByTraffic }), size);
        assert.equal(lines.length, size.rows);
        for (const each of lines) assert.ok(each.length <= size.columns && !each.includes("\n"));
      }),
    );
  });

  test("bytes in the unit that fits", () => {
    const rows: [number | undefined, string][] = [
      [undefined, "-"],
      [0, "0 B"],
      [1023, "1023 B"],
      [1536, "1.5 KiB"],
      [3 * 1024 ** 3, "3.0 GiB"],
      [2000 * 1024 ** 4, "2000.0 TiB"],
    ];
    for (const [bytes, text] of rows) assert.equal(bytesText(bytes), text);
  });
});

const keyed = (...keys: string[]): TopState | "quit" =>
  keys.reduce<TopState | "quit">((now, key) => (now === "quit" ? now : onKey(now, key)), FIRST);

describe("keys and looks", () => {
  test("keys choose what is shown, and how it is sorted", () => {
    const views: [string, string][] = [
      ["1", "nodes"],
      ["2", "vservers"],
      ["3", "web"],
      ["x", "vservers"],
    ];
    for (const [key, view] of views) assert.deepEqual(keyed(key), { ...FIRST, view });
    assert.deepEqual(keyed("s"), { ...FIRST, isByTraffic: true });
    assert.deepEqual(keyed("s", "s"), FIRST);
    for (const key of ["q", "Q", "\u0003", "\u0004"]) assert.equal(keyed("1", key), "quit");
  });

  test("a look that fails leaves the last one on the screen", () => {
    const [first, second] = [look(), later];
    const seen = onLook(onLook(FIRST, first), second);
    assert.deepEqual([seen.look, seen.before], [second, first]);
    const failed = onLook(seen, "no answer");
    assert.deepEqual([failed.look, failed.trouble], [second, "no answer"]);
    assert.equal(onLook(failed, first).trouble, "");
  });
});

describe("reading the monitoring socket", () => {
  test("rows of show stat as the status process writes them", () => {
    const csv = [...statPieces(statRows(servedNode()), EVERYTHING, "csv")].join("");
    const lines = readStat(csv);
    const web1 = lines.find(({ svname }) => svname === "web1");
    assert.deepEqual([web1?.pxname, web1?.status, web1?.type, web1?.bout], ["shop", "UP 1/2", 2, 800_000]);
    assert.equal(lines[0]?.req_tot, 258);
    assert.ok(lines.every((each) => Number.isFinite(each.rtime + each.econ)));
  });

  test("what can't be read is told, and nodes may be missing", () => {
    const stat = "# pxname,svname,\n";
    const bare = readLook({ info: "{}", stat, nodes: "" }, 0, "");
    assert.deepEqual([bare.nodes, bare.stat], [undefined, []]);
    assert.throws(() => readLook({ info: "[", stat, nodes: "" }, 0, ""), { code: "NO_ANSWER" });
    assert.throws(() => readLook({ info: "{}", stat: "", nodes: "" }, 0, ""), { code: "NO_ANSWER" });
  });
});
