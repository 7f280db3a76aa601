import assert from "node:assert/strict";
import { test } from "node:test";
import { isRecord } from "../../conf/record.ts";
import { FORMATS } from "../../status/grid.ts";
import { vserversTable, type TrafficView } from "../../status/vservers-table.ts";
import { host, vserver, vservers } from "./samples.ts";

const facts = { version: "0.1.0", table_size: 65_536, balance: "hits" };
const linesOf = (view: TrafficView, report = vservers()): string[] =>
  vserversTable(report, facts, view, "text").trimEnd().split("\n");

test("virtual servers are listed as ipvsadm does, one line for each VIP, and why a host is not up", () => {
  assert.deepEqual(linesOf(undefined), [
    "DLBA 0.1.0 (size=65536)",
    "Prot LocalAddress:Port Scheduler Flags",
    "  -> RemoteAddress:Port           Forward Weight ActiveConn Buckets",
    "TCP  198.18.0.100:80,8080 hits vserver=shop-http protocol=http",
    "TCP  [2001:db8::100]:80,8080 hits vserver=shop-http protocol=http",
    "  -> 198.18.1.1 (node1)           Local   1      12         21845",
    "  -> 198.18.1.2 (node2)           Route   10     12         0       draining, 12 connections left",
    "UDP  198.18.0.53:53 groups vserver=dns hash=address pool=resolvers",
    "  -> 2001:db8::31 (dns1)          Route   1      -          4096",
  ]);
});

test("columns stay in line behind a long name", () => {
  const name = "a-node-with-quite-a-long-name-for-a-table";
  const report = vservers({ vservers: [vserver({ hosts: [host({ name }), host()] })] });
  const [head, ...rows] = linesOf(undefined, report).filter((line) => line.startsWith("  -> "));
  const at = head?.indexOf("Forward");
  assert.deepEqual(
    rows.map((row) => row.indexOf("Local")),
    [at, at],
  );
});

test("stats are all frames so far, summed for the virtual server; rates those of the last second", () => {
  assert.deepEqual(linesOf("stats"), [
    "DLBA 0.1.0 (size=65536)",
    "Prot LocalAddress:Port          Conns   InPkts  InBytes",
    "  -> RemoteAddress:Port",
    "TCP  198.18.0.100:80,8080         200     4000  2469134 vserver=shop-http protocol=http",
    "TCP  [2001:db8::100]:80,8080",
    "  -> 198.18.1.1 (node1)           100     2000  1234567",
    "  -> 198.18.1.2 (node2)           100     2000  1234567 draining, 12 connections left",
    "UDP  198.18.0.53:53               100     2000  1234567 vserver=dns hash=address pool=resolvers",
    "  -> 2001:db8::31 (dns1)          100     2000  1234567",
  ]);
  assert.deepEqual(linesOf("rate").slice(1, 6), [
    "Prot LocalAddress:Port            CPS    InPPS    InBPS",
    "  -> RemoteAddress:Port",
    "TCP  198.18.0.100:80,8080           3       40    24690 vserver=shop-http protocol=http",
    "TCP  [2001:db8::100]:80,8080",
    "  -> 198.18.1.1 (node1)             1       20    12345",
  ]);
});

test("large counts widen their column", () => {
  const total = { connections: 123_456_789_012, packets: 1, bytes: 2 };
  const report = vservers({ vservers: [vserver({ vips: ["192.0.2.1"], hosts: [host({ total })] })] });
  const [, head, , sum, row] = linesOf("stats", report);
  assert.equal(head, "Prot LocalAddress:Port         Conns   InPkts  InBytes");
  assert.match(sum ?? "", /^TCP {2}192\.0\.2\.1:80,8080 {2}123456789012 {8}1 {8}2 /);
  assert.match(row ?? "", / 123456789012 {8}1 {8}2$/);
});

test("a node that does not schedule says so", () => {
  const [title] = linesOf(undefined, vservers({ is_scheduling: false }));
  assert.equal(title, "DLBA 0.1.0 (size=65536), not scheduling: this node's counts stand still");
});

test("JSON and CSV hold everything, whatever is shown in text", () => {
  const json: unknown = JSON.parse(vserversTable(vservers(), facts, undefined, "json"));
  assert.deepEqual(json, { ...facts, is_scheduling: true, vservers: vservers().vservers });
  assert.ok(isRecord(json));
  const csv = vserversTable(vservers(), facts, "stats", "csv").split("\n");
  assert.deepEqual(csv, [
    "Vserver,Protocol,VIPs,Ports,Scheduler,Hash,Direct Pool,Number,Name,Physical IP Address,Forward,Weight,State,Reason,ActiveConn,Buckets,Conns,InPkts,InBytes,CPS,InPPS,InBPS",
    "shop-http,http,198.18.0.100 2001:db8::100,80 8080,hits,address-and-port,,1,node1,198.18.1.1,Local,1,up,,12,21845,100,2000,1234567,1.4,20,12345",
    "shop-http,http,198.18.0.100 2001:db8::100,80 8080,hits,address-and-port,,2,node2,198.18.1.2,Route,10,draining,12 connections left,12,0,100,2000,1234567,1.4,20,12345",
    "dns,udp,198.18.0.53,53,groups,address,resolvers,1,dns1,2001:db8::31,Route,1,up,,,4096,100,2000,1234567,1.4,20,12345",
    "",
  ]);
});

test("no answer has an empty line inside, even without virtual servers", () => {
  for (const format of FORMATS) {
    for (const view of [undefined, "stats", "rate"] as const) {
      for (const report of [vservers(), vservers({ vservers: [] })]) {
        assert.doesNotMatch(vserversTable(report, facts, view, format), /^\n|\n\n/);
      }
    }
  }
});
