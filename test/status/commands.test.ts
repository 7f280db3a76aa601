import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { DlbaError } from "../../conf/errors.ts";
import { parseConfig } from "../../conf/load.ts";
import { isRecord } from "../../conf/record.ts";
import type { PublishedBody, WorkerReport } from "../../conf/messages.ts";
import { answerCommand, parseCommand, type ShowCommand } from "../../status/commands.ts";
import type { NodeFacts, Published } from "../../status/info.ts";
import { eventRing } from "../../status/event-ring.ts";
import { observer } from "../../status/observed.ts";
import { failover, scheduler, vservers, webServer, worker } from "./samples.ts";

function show(change: Partial<ShowCommand>): ShowCommand {
  return { topic: "nodes", format: "text", range: undefined, view: undefined, ...change };
}

test("commands are read with their format and rows", () => {
  const rows: [string, unknown][] = [
    ["help", { topic: "help" }],
    ["show nodes", show({ topic: "nodes" })],
    ["  show   web  json ", show({ topic: "web", format: "json" })],
    ["show buckets csv", show({ topic: "buckets", format: "csv" })],
    ["show buckets all", show({ topic: "buckets", range: { first: 0, last: Infinity } })],
    ["show buckets 5", show({ topic: "buckets", range: { first: 5, last: 5 } })],
    ["show buckets 0-99 json", show({ topic: "buckets", format: "json", range: { first: 0, last: 99 } })],
    ["show vservers", show({ topic: "vservers" })],
    ["show vservers json", show({ topic: "vservers", format: "json" })],
    ["show vservers stats", show({ topic: "vservers", view: "stats" })],
    ["show events", { topic: "events", format: "text", since: 0 }],
    ["show events since 12 json", { topic: "events", format: "json", since: 12 }],
    ["show vservers rate csv", show({ topic: "vservers", format: "csv", view: "rate" })],
  ];
  for (const [text, command] of rows) assert.deepEqual(parseCommand(text), command, text);
});

test("what is not a command is told with what may be meant", () => {
  const rows: [string, string][] = [
    ["shwo nodes", "unknown command 'shwo'; did you mean 'show'?"],
    ["set weight", "unknown command 'set'; expected show, help, prompt, quit or set timeout cli"],
    [
      "show",
      "missing table; expected nodes, buckets, vservers, web, summary, info, errors, stat, servers, sess or events",
    ],
    ["show node", "unknown table 'node'; did you mean 'nodes'?"],
    ["show nodes jsn", "unknown word 'jsn'; did you mean 'json'?"],
    ["show nodes json now", "unknown word 'now'; expected text, json or csv"],
    ["show buckets 1-x", "unknown word '1-x'; expected all, text, json, csv or a range such as 0-99"],
    ["show vservers rates", "unknown word 'rates'; did you mean 'rate'?"],
    ["show vservers all", "unknown word 'all'; expected stats, rate, text, json or csv"],
    ["show vservers rate stats", "unknown word 'stats'; expected text, json or csv"],
    ["show nodes stats", "unknown word 'stats'; expected text, json or csv"],
    ["show events sinc 1", "unknown word 'sinc'; did you mean 'since'?"],
    ["show events since x", "unknown number 'x'; expected a sequence number"],
    ["show events since 1 2", "unknown word '2'; expected text, json or csv"],
    ["show buckets 1 2", "unknown word '2'; expected text, json or csv"],
  ];
  for (const [text, message] of rows) {
    assert.throws(() => parseCommand(text), { code: "COMMAND_UNKNOWN", message }, text);
  }
});

const parsed = parseConfig(
  readFileSync(new URL("../../conf/examples/minimal.yaml", import.meta.url), "utf8"),
  "minimal.yaml",
);
assert.ok("config" in parsed);
const facts: NodeFacts = {
  version: "1.2.3",
  configFile: "/etc/dlba/array.yaml",
  config: parsed.config,
  node: parsed.config.nodes[0]!,
  pid: 99,
  uptime_s: 61.5,
};

/** A node whose processes say these things; null for one that does not answer. */
async function answerOf(
  text: string,
  bodies: Partial<Record<string, PublishedBody | null>>,
  absent: WorkerReport[] = [],
): Promise<string> {
  const published = Object.entries(bodies).map(([name, body = null], worker): Published => {
    const process = name === "scheduler" || name === "failover" ? name : "dlba-server";
    return { hello: { process, worker, pid: 100 + worker }, body };
  });
  const collector = { ask: async () => published, absent: () => absent, close: async () => undefined };
  const sources = { facts, collector, observed: observer(), events: eventRing(10), life: "1" };
  return [...(await answerCommand(parseCommand(text), sources))].join("");
}

/** By the clock. */
const isTimed = (line: string): boolean => line.startsWith("Start_time_sec: ");

test("info tells role, processes and counters, and who does not answer", async () => {
  const bodies = {
    worker0: worker(),
    worker1: worker({ is_accepting: false }),
    worker2: null,
    scheduler: scheduler(),
    failover: failover(),
  };
  const lines = (await answerOf("show info", bodies)).trimEnd().split("\n");
  assert.deepEqual(
    lines.filter((line) => !isTimed(line)),
    INFO,
  );
  assert.equal(lines.filter(isTimed).length, 1);
  const json: unknown = JSON.parse(await answerOf("show info json", bodies));
  assert.ok(isRecord(json));
  assert.equal(json["Requests"], 200);
  assert.equal(Object.keys(json).length, INFO.length + 1);
});

test("what absent workers had counted counts on, in info and in the table of web servers", async () => {
  const ended = worker({ open_connections: 0, memory_bytes: 0, web_servers: [webServer({ hits: 11 })] });
  const info = await answerOf("show info", { worker0: worker() }, [ended]);
  assert.match(info, /^Requests: 200$/m);
  assert.match(info, /^Connections_open: 5$/m);
  assert.match(info, /^Workers: 1$/m);
  const web: unknown = JSON.parse(await answerOf("show web json", { worker0: worker() }, [ended]));
  assert.ok(isRecord(web) && isRecord(web["web_servers"]) && isRecord(web["web_servers"][0]));
  assert.deepEqual([web["workers"], web["web_servers"][0]["hits"]], [1, 111]);
});

test("virtual servers are shown from what the scheduler process says", async () => {
  const here = { scheduler: vservers() };
  const lines = (await answerOf("show vservers", here)).split("\n");
  assert.equal(lines[0], "DLBA 1.2.3 (size=65536)");
  assert.match(
    await answerOf("show vservers stats", here),
    /^Prot LocalAddress:Port +Conns +InPkts +InBytes$/m,
  );
  assert.match(await answerOf("show vservers rate", here), /^Prot LocalAddress:Port +CPS +InPPS +InBPS$/m);
  await assert.rejects(answerOf("show vservers", {}), { code: "NO_ANSWER" });
});

test("info works when nothing else of the node does", async () => {
  const info = await answerOf("show info", {});
  assert.match(info, /^Process_scheduler: not running$/m);
  assert.match(info, /^Workers: 0$/m);
  assert.match(info, /^Role: node$/m);
  assert.match(info, /^Scheduler: none$/m);
});

test("tables whose process is away are one clear error", async () => {
  const away = new DlbaError("NO_ANSWER", "the scheduler process of this node is not running");
  await assert.rejects(answerOf("show nodes", {}), away);
  await assert.rejects(answerOf("show buckets", {}), away);
  const stuck = new DlbaError("NO_ANSWER", "the scheduler process of this node does not answer");
  await assert.rejects(answerOf("show nodes", { scheduler: null }), stuck);
  await assert.rejects(answerOf("show web", { worker0: null }), { code: "NO_ANSWER" });
});

test("the summary is the scheduler's; other nodes say who that is", async () => {
  const here = { scheduler: scheduler(), failover: failover() };
  assert.match(await answerOf("show summary", here), /^Summary Web Server Status Table$/m);
  const elsewhere = {
    scheduler: scheduler(),
    failover: failover({ is_scheduler: false, scheduler_number: 2 }),
  };
  await assert.rejects(answerOf("show summary", elsewhere), {
    code: "NOT_SCHEDULER",
    message: "node 1 (node1) is not the scheduler; ask node 2 (node2)",
  });
});

test("help names every command", async () => {
  const help = await answerOf("help", {});
  for (const word of [
    "nodes",
    "buckets",
    "vservers",
    "web",
    "summary",
    "info",
    "errors",
    "stat",
    "servers",
    "sess",
    "events",
    "prompt",
    "quit",
  ])
    assert.ok(help.includes(word));
});

const INFO: readonly string[] = [
  "Name: DLBA",
  "Version: 1.2.3",
  "Release_date: unreleased",
  "Nbthread: 2",
  "Nbproc: 1",
  "Process_num: 1",
  "Pid: 99",
  "Uptime: 0d 0h01m01s",
  "Uptime_sec: 61",
  "Memmax_MB: 0",
  "PoolAlloc_MB: 95",
  "PoolUsed_MB: 95",
  "PoolFailed: 0",
  "Maxconn: 40000",
  "Hard_maxconn: 40000",
  "CurrConns: 10",
  "CumConns: 40",
  "CumReq: 208",
  "CumSslConns: 8",
  "Maxpipes: 0",
  "PipesUsed: 0",
  "PipesFree: 0",
  "ConnRate: 0",
  "ConnRateLimit: 0",
  "SessRate: 0",
  "SessRateLimit: 0",
  "SslFrontendSessionReuse_pct: 25",
  "Tasks: 10",
  "Run_queue: 0",
  "node: node1",
  "Stopping: 0",
  "Jobs: 10",
  "Listeners: 1",
  "DroppedLogs: 4",
  "TotalBytesOut: 820000",
  "Array: shop",
  "Node: node1",
  "Node_number: 1",
  "Role: scheduler",
  "Scheduler_number: 1",
  "Scheduler: node1",
  "Config_file: /etc/dlba/array.yaml",
  "Process_status: pid 99",
  "Process_scheduler: pid 103",
  "Process_failover: pid 104",
  "Process_dlba-server_0_100: pid 100",
  "Process_dlba-server_1_101: pid 101",
  "Process_dlba-server_2_102: pid 102, does not answer",
  "Workers: 3",
  "Workers_answering: 2",
  "Workers_accepting: 1",
  "Xdp_mode: generic",
  "Xdp_interface: eth0",
  "Table_size: 65536",
  "Table_version: 77",
  "Buckets_assigned: 21845",
  "Buckets_with_previous: 9",
  "Balance: groups",
  "Epoch: 3 by node 1",
  "Merged_buckets: 12",
  "Crowded_buckets: 5",
  "Scattered_nodes: node1, node12",
  "Held_fragments_sent: 7",
  "Held_fragments_expired: 2",
  "Held_fragments_dropped: 1",
  "Watch_heartbeats_sent: 400",
  "Watch_heartbeats_failed: 3",
  "Last_sweep: 2026-01-02T03:04:05.000Z",
  "Last_sweep_ms: 12.34",
  "Node_1_state: up",
  "Node_12_state: down, its kernel is silent",
  "Packets_to_node_1: 1000",
  "Packets_to_node_12: 0",
  "Packets_arp: 2",
  "Packets_passed: 10",
  "Failover_state: scheduling",
  "Failover_epoch: 3 by node 1",
  "Failover_leased: yes",
  "Failover_stands: yes",
  "Lease_renewals: 55",
  "Announcements: 4",
  "Takeovers: 2",
  "Yields: 1",
  "Vip_foreign_claims: 6",
  "Vip_foreign_mac: 02:00:00:00:00:99",
  "Heartbeats_sent: 900",
  "Heartbeats_failed: 8",
  "Longest_stall_ms: 21",
  "Connections_open: 10",
  "Connections_accepted: 40",
  "Requests: 200",
  "Requests_waiting: 8",
  "Responses_2xx: 196",
  "Responses_5xx: 4",
  "Own_answers_502: 4",
  "Tunnels_open: 0",
  "Tunnels: 0",
  "Tls_handshakes: 8",
  "Tls_resumed: 2",
  "Tls_failures: 0",
  "Proxy_header_failures: 6",
  "Log_lines_dropped: 4",
  "Memory_bytes: 100000000",
];
