import assert from "node:assert/strict";
import { test } from "node:test";
import type { ConnectionRow } from "../../conf/messages.ts";
import { sessionsTable } from "../../status/sessions-table.ts";

const connection = (change: Partial<ConnectionRow> = {}): ConnectionRow => ({
  vserver: "shop",
  client: "192.0.2.7",
  client_port: 40_000,
  is_tls: false,
  phase: "responseHead",
  phase_ms: 1999,
  silent_ms: 10,
  pool: "app",
  web_server: "web1",
  pending_bytes: 0,
  ...change,
});
const tls = connection({ client: "2001:db8::7", is_tls: true, pool: null, web_server: null, phase: "idle" });
const reports = [
  { kind: "connections", worker: 0, pid: 100, total: 700, connections: [connection(), tls] },
  { kind: "connections", worker: 1, pid: 101, total: 0, connections: [] },
] as const;

test("connections in lines like HAProxy's, and how many there are in all", () => {
  assert.deepEqual([...sessionsTable(reports, "text")].join("").split("\n"), [
    "100.0: proto=tcpv4 src=192.0.2.7:40000 fe=shop be=app srv=web1 phase=responseHead age=1s idle=0s pending=0",
    "100.1: proto=tcpv6 src=[2001:db8::7]:40000 fe=shop be=<NONE> srv=<none> phase=idle age=1s idle=0s pending=0 tls=1",
    "# 2 of 700 connections",
    "",
  ]);
});

test("programs get the same", () => {
  const { total, connections } = JSON.parse([...sessionsTable(reports, "json")].join(""));
  assert.deepEqual([total, connections.length, connections[0].worker], [700, 2, 0]);
  assert.deepEqual(
    { ...connections[1], worker: undefined, pid: undefined },
    { ...tls, worker: undefined, pid: undefined },
  );
  assert.equal([...sessionsTable(reports, "csv")].join("").split("\n").length, 4);
});
