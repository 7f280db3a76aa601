import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { NOBODY } from "../../conf/limits.ts";
import { isRecord } from "../../conf/record.ts";
import { bucketsTable, readBuckets } from "../../status/buckets-table.ts";
import { FORMATS, gridCsv, gridText } from "../../status/grid.ts";
import { nodeStatus, sumWebServers } from "../../status/sum.ts";
import { nodesTable, summaryTable, webTable } from "../../status/tables.ts";
import { NOW_MS, scheduler, webServer, worker } from "./samples.ts";

const text = (lines: readonly string[]): string => `${lines.join("\n")}\n`;

test("DLBA Server Status Table as text", () => {
  assert.equal(nodesTable(scheduler(), NOW_MS, "text"), text(NODES_TEXT));
});

test("DLBA Server Status Table as CSV and JSON", () => {
  assert.equal(
    nodesTable(scheduler(), NOW_MS, "csv"),
    text([
      "DLBA Server Number,Name,MAC Address,# IP Groups Assigned,Avg. Resp. Time,# Hits,# Open Connections,Failed,Physical IP Address,Enabled,Weight,Table Version,Effective Weight,State,Reason",
      "1,node1,02:00:00:00:00:01,21845,2.50 ms,12345,64,no,10.0.0.1,yes,1,77,1.5,up,",
      "12,node12,,0,,,,FAILED,2001:db8::12,no,10,,10,down,its kernel is silent",
    ]),
  );
  assert.deepEqual(JSON.parse(nodesTable(scheduler(), NOW_MS, "json")), {
    last_sweep_at_ms: NOW_MS - 2000,
    last_sweep_took_ms: 12.34,
    nodes: scheduler().nodes,
  });
});

test("a node that does not sweep says so instead of showing a time", () => {
  const shown = nodesTable(scheduler({ last_sweep_at_ms: null, last_sweep_took_ms: null }), NOW_MS, "text");
  assert.match(shown, /^no sweep yet from this node: only the scheduler sweeps$/m);
});

test("Web Server Status Table adds up the workers, and tells when they differ about a web server", () => {
  const passedOver = { state: "passed over", reason: "refused", is_up: false } as const;
  const rows = [
    webServer(),
    webServer({ id: "web2", address: "10.0.0.22", ...passedOver, connect_failures: 3 }),
    webServer({ hits: 300, response_time_sum_us: 150_000, open_connections: 0 }),
    webServer({ id: "web2", address: "10.0.0.22", response_time_count: 0, response_time_sum_us: 0 }),
    webServer({ id: "web3", address: "10.0.0.23", state: "down", reason: "status 503", is_up: false }),
    webServer({ id: "web3", address: "10.0.0.23", ...passedOver }),
    webServer({ id: "web5", address: "10.0.0.25", state: "drain", weight: 7, waiting: 2 }),
  ];
  const absent = [
    webServer({ id: "web2", hits: 1000, open_connections: 0 }),
    webServer({ id: "web4", open_connections: 0 }),
  ];
  assert.equal(webTable(sumWebServers(rows, absent), 2, "text"), text(WEB_TEXT));
});

test("Summary Web Server Status Table adds up the nodes", () => {
  assert.equal(summaryTable(scheduler(), NOW_MS, "text"), text(SUMMARY_TEXT));
  assert.deepEqual(JSON.parse(summaryTable(scheduler(), NOW_MS, "json")), {
    last_sweep_at_ms: NOW_MS - 2000,
    nodes: 2,
    web_servers: [
      {
        pool: "shop",
        id: "web1",
        address: "10.0.0.21",
        port: 80,
        cookie_groups: 8,
        hits: 150,
        open_connections: 6,
      },
    ],
  });
});

test("the same id in two pools is two web servers", () => {
  const rows = [webServer(), webServer({ pool: "images" })];
  assert.equal(nodeStatus(1, [worker({ web_servers: rows })], []).web_servers.length, 2);
});

test("a node's status adds up its workers; without workers it is empty", () => {
  const other = { response_time_sum_us: 750_000, is_accepting: false, open_by_vserver: { "shop-https": 2 } };
  const status = nodeStatus(3, [worker(), worker(), worker(other)], []);
  assert.deepEqual(
    { ...status, web_servers: status.web_servers.map(({ hits }) => hits) },
    {
      number: 3,
      avg_response_time_us: 4167,
      hits: 300,
      open_connections: 15,
      open_by_vserver: { "shop-http": 10, "shop-https": 2 },
      workers: 3,
      workers_accepting: 2,
      web_servers: [300],
    },
  );
  assert.deepEqual(nodeStatus(3, [], []), {
    number: 3,
    avg_response_time_us: null,
    hits: 0,
    open_connections: 0,
    open_by_vserver: {},
    workers: 0,
    workers_accepting: 0,
    web_servers: [],
  });
});

/** 1024 buckets: the first half node 1's, an eighth node 12's (a few of them were node 1's), the rest nobody's. */
function buckets() {
  const owners = Buffer.alloc(1024, NOBODY).fill(1, 0, 512).fill(12, 512, 640);
  const next = Buffer.alloc(1024, 12);
  const previous = Buffer.alloc(1024, NOBODY).fill(1, 635, 640);
  const idle_s = Buffer.alloc(4096, 0xff);
  for (let i = 0; i < 640; i++) idle_s.writeUInt32LE(i % 100, i * 4);
  return {
    kind: "buckets",
    table_size: 1024,
    owners: owners.toString("base64"),
    next: next.toString("base64"),
    previous: previous.toString("base64"),
    idle_s: idle_s.toString("base64"),
  } as const;
}

function bucketsAs(format: (typeof FORMATS)[number], first?: number, last = first): string {
  const table = readBuckets(buckets());
  assert.ok(table);
  const range = first === undefined || last === undefined ? undefined : { first, last };
  return [...bucketsTable(table, range, format)].join("");
}

test("Client IP Hash Table as text is a summary that fits on a screen", () => {
  assert.equal(bucketsAs("text"), text(BUCKETS_TEXT));
});

test("rows of the Client IP Hash Table come on request", () => {
  assert.equal(bucketsAs("text", 639, 640), text(ROWS_TEXT));
  assert.equal(bucketsAs("text", 0, Infinity).split("\n").length, 1024 + 3);
  assert.equal(bucketsAs("text", 5000, 5010).split("\n").length, 3);
});

function bucketsJson(
  first?: number,
  last?: number,
): { assigned: unknown; with_previous: unknown; buckets: unknown[] } {
  const parsed: unknown = JSON.parse(bucketsAs("json", first, last));
  assert.ok(isRecord(parsed) && Array.isArray(parsed["buckets"]));
  const { assigned, with_previous, buckets } = parsed;
  return { assigned, with_previous, buckets };
}

test("JSON and CSV hold the whole Client IP Hash Table", () => {
  const json = bucketsJson();
  assert.equal(json.assigned, 640);
  assert.equal(json.buckets.length, 1024);
  assert.deepEqual(json.buckets[639], [639, 12, 39, 12, 1]);
  assert.deepEqual(json.buckets[640], [640, -1, null, 12, -1]);
  assert.equal(json.with_previous, 5);
  const csv = bucketsAs("csv").trimEnd().split("\n");
  assert.equal(csv.length, 1025);
  assert.equal(csv[0], "Bucket,DLBA Server Number,Last Access in Seconds,Next,Previous");
  assert.equal(csv[640], "639,12,39,12,1");
  assert.equal(csv[641], "640,-1,,12,-1");
  assert.equal(bucketsJson(5, 6).buckets.length, 2);
});

test("a bucket table whose parts do not fit its size is refused", () => {
  assert.equal(readBuckets({ ...buckets(), table_size: 2048 }), undefined);
  assert.equal(readBuckets({ ...buckets(), next: "" }), undefined);
  assert.equal(readBuckets({ ...buckets(), previous: "" }), undefined);
});

test("no table has an empty line inside: on the monitoring socket that ends an answer", () => {
  for (const format of FORMATS) {
    const all = [
      nodesTable(scheduler({ nodes: [] }), NOW_MS, format),
      webTable([], 0, format),
      summaryTable(scheduler(), NOW_MS, format),
      bucketsAs(format),
    ];
    for (const shown of all) assert.doesNotMatch(shown, /^\n|\n\n/);
  }
});

test("text columns line up, whatever is in the cells", () => {
  const cell = fc.oneof(
    fc.integer(),
    fc.boolean(),
    fc.constant(null),
    fc.stringMatching(/^[a-z ]{0,20}[a-z]$/),
  );
  fc.assert(
    fc.property(fc.array(fc.tuple(cell, cell)), (rows) => {
      const columns = [
        { title: "First Of All", key: "a", of: (row: (typeof rows)[number]) => row[0] },
        { title: "Second", key: "b", of: (row: (typeof rows)[number]) => row[1] },
      ];
      const lines = gridText(columns, rows).trimEnd().split("\n");
      const rule = lines.find((line) => /^-+ {2}-+$/.test(line));
      assert.ok(rule);
      for (const line of lines) {
        assert.ok(line.length <= rule.length);
        assert.equal(line.slice(rule.indexOf(" "), rule.indexOf(" ") + 2).trim(), "");
      }
    }),
  );
});

test("CSV fields with separators are quoted (RFC 4180)", () => {
  const column = { title: "a,b", key: "a", of: (row: string) => row };
  assert.equal(gridCsv([column], ['say "x"', "plain"]), '"a,b"\n"say ""x"""\nplain\n');
});

const NODES_TEXT: readonly string[] = [
  "DLBA Server Status Table",
  "last sweep 2.0 s ago, at 2026-01-02T03:04:05.000Z, took 12.3 ms",
  "  DLBA                                 # IP     Avg.",
  "Server                               Groups    Resp.      #       # Open          Physical IP                      Table",
  "Number  Name    MAC Address        Assigned     Time   Hits  Connections  Failed  Address       Enabled  Weight  Version  State",
  "------  ------  -----------------  --------  -------  -----  -----------  ------  ------------  -------  ------  -------  --------------------------",
  "     1  node1   02:00:00:00:00:01     21845  2.50 ms  12345           64  no      10.0.0.1      yes           1       77  up",
  "    12  node12  -                         0        -      -            -  FAILED  2001:db8::12  no           10        -  down, its kernel is silent",
];
const WEB_TEXT: readonly string[] = [
  "Web Server Status Table",
  "from 2 workers of this node",
  "            Physical            Avg.  Number    Number of",
  "            IP                 Resp.      of         Open                                    Connect  Response",
  "Pool  Id    Address    Port     Time    Hits  Connections  State                            Failures  Failures  Waiting  Weight",
  "----  ----  ---------  ----  -------  ------  -----------  -------------------------------  --------  --------  -------  ------",
  "shop  web1  10.0.0.21    80  2.00 ms     400            3  up                                      0         0        0       1",
  "shop  web2  10.0.0.22    80  2.50 ms    1200            6  passed over by 1 of 2 (refused)         3         0        0       1",
  "shop  web3  10.0.0.23    80  2.50 ms     200            6  down (status 503)                       0         0        0       1",
  "shop  web5  10.0.0.25    80  2.50 ms     100            3  drain                                   0         0        2       7",
  "shop  web4  10.0.0.21    80  2.50 ms     100            0  unknown                                 0         0        0       1",
];
const SUMMARY_TEXT: readonly string[] = [
  "Summary Web Server Status Table",
  "from 2 nodes; last sweep 2.0 s ago, at 2026-01-02T03:04:05.000Z, took 12.3 ms",
  "                               Number",
  "                                   of   Total        Total",
  "            Physical           Cookie  Number    Number of",
  "            IP                 Groups      of         Open",
  "Pool  Id    Address    Port  Assigned    Hits  Connections",
  "----  ----  ---------  ----  --------  ------  -----------",
  "shop  web1  10.0.0.21    80         8     150            6",
];
const BUCKETS_TEXT: readonly string[] = [
  "Client IP Hash Table",
  "1024 buckets, 640 assigned, 384 unassigned, 5 with a previous node",
  "  DLBA",
  "Server                   Next",
  "Number  Buckets   Share    Of  Mark",
  "------  -------  ------  ----  ----",
  "     1      512  50.0 %     0  a",
  "    12      128  12.5 %  1024  b",
  "Last access of assigned buckets: < 1 s: 7, < 10 s: 63, < 60 s: 330, < 600 s: 240, < 3600 s: 0, longer ago: 0",
  "Map: one character for 2 buckets, the mark of the node with most of them, '.' for none",
  "  aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
  "  aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
  "  aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
  "  aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
  "  bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb",
  "  ................................................................",
  "  ................................................................",
  "  ................................................................",
];
const ROWS_TEXT: readonly string[] = [
  "Client IP Hash Table",
  " Bucket  DLBA Server Number  Last Access in Seconds  Next  Previous",
  "    639                  12                      39    12         1",
  "    640                  -1                       -    12        -1",
];
