import assert from "node:assert/strict";
import { test } from "node:test";
import { parseCommand } from "../../../status/commands.ts";
import { serversState } from "../../../status/haproxy/servers-state.ts";
import { EVERYTHING, statPieces, type StatFilter } from "../../../status/haproxy/stat-output.ts";
import { statRows, statusOf } from "../../../status/haproxy/stat-rows.ts";
import { nodeView, type NodeView } from "../../../status/node-view.ts";
import { observer } from "../../../status/observed.ts";
import type { WebServerSum } from "../../../status/sum.ts";
import type { WebServerCounters } from "../../../conf/messages.ts";
import { webServer } from "../samples.ts";
import { facts, servedNode } from "./node.ts";

/** As HAProxy 2.6 writes them before the columns of its modules. */
const TITLES =
  "pxname,svname,qcur,qmax,scur,smax,slim,stot,bin,bout,dreq,dresp,ereq,econ,eresp,wretr,wredis,status,weight,act,bck,chkfail," +
  "chkdown,lastchg,downtime,qlimit,pid,iid,sid,throttle,lbtot,tracked,type,rate,rate_lim,rate_max,check_status,check_code," +
  "check_duration,hrsp_1xx,hrsp_2xx,hrsp_3xx,hrsp_4xx,hrsp_5xx,hrsp_other,hanafail,req_rate,req_rate_max,req_tot,cli_abrt," +
  "srv_abrt,comp_in,comp_out,comp_byp,comp_rsp,lastsess,last_chk,last_agt,qtime,ctime,rtime,ttime,agent_status,agent_code," +
  "agent_duration,check_desc,agent_desc,check_rise,check_fall,check_health,agent_rise,agent_fall,agent_health,addr,cookie," +
  "mode,algo,conn_rate,conn_rate_max,conn_tot,intercepted,dcon,dses,wrew,connect,reuse,cache_lookups,cache_hits,srv_icur," +
  "src_ilim,qtime_max,ctime_max,rtime_max,ttime_max,eint,idle_conn_cur,safe_conn_cur,used_conn_cur,need_conn_est,uweight," +
  "agg_server_status,agg_server_check_status";

const rows = statRows(servedNode());
const output = (format: "csv" | "typed" | "json", filter: Partial<StatFilter> = {}): string =>
  [...statPieces(rows, { ...EVERYTHING, ...filter }, format)].join("");

/** The rows of the CSV by title. */
function records(text: string): Record<string, string>[] {
  const [head = "", ...lines] = text.trimEnd().split("\n");
  assert.ok(head.startsWith("# ") && head.endsWith(","));
  const titles = head.slice(2, -1).split(",");
  return lines.map((line) => {
    const cells = line.split(",");
    assert.equal(cells.length, titles.length + 1, "a comma ends each line, as it ends the titles");
    return Object.fromEntries(titles.map((title, i) => [title, cells[i]!]));
  });
}

test("the columns are HAProxy's, in its order", () => {
  assert.equal(output("csv").split("\n")[0], `# ${TITLES},`);
});

test("vservers are frontends, pools are backends behind their servers, and what is not proxied is left out", () => {
  const names = records(output("csv")).map(({ pxname, svname, type, iid, sid, status }) =>
    [pxname, svname, type, iid, sid, status].join(" "),
  );
  assert.deepEqual(names, [
    "shop-http FRONTEND 0 2 0 OPEN",
    "quiet FRONTEND 0 3 0 OPEN",
    "shop web1 2 4 1 UP 1/2",
    "shop web2 2 4 2 DOWN",
    "shop spare 2 4 3 UP",
    "shop BACKEND 1 4 0 UP",
    "images img 2 5 1 no check",
    "images BACKEND 1 5 0 UP",
  ]);
});

test("a frontend's figures are the sums of its vserver over all workers", () => {
  const [shop] = records(output("csv"));
  const expected = {
    scur: "10",
    smax: "22",
    slim: "40000",
    stot: "65",
    bin: "42000",
    bout: "820000",
    ereq: "2",
    hrsp_2xx: "180",
    hrsp_4xx: "8",
    hrsp_other: "0",
    req_tot: "258",
    req_rate: "10",
    req_rate_max: "10",
    rate: "5",
    conn_tot: "65",
    intercepted: "8",
    eint: "6",
    qcur: "",
    econ: "",
    weight: "",
  };
  assert.deepEqual(pick(shop!, Object.keys(expected)), expected);
});

test("a server's figures, and a backend's, which are the sums of its servers", () => {
  const all = records(output("csv"));
  const [web1, web2, spare, shop] = all.slice(2);
  const expected = {
    scur: "4",
    smax: "18",
    stot: "200",
    bin: "40000",
    bout: "800000",
    econ: "0",
    wretr: "8",
    wredis: "6",
    weight: "3",
    act: "1",
    bck: "0",
    lbtot: "200",
    rtime: "3",
    connect: "60",
    reuse: "140",
    srv_icur: "2",
    used_conn_cur: "4",
    addr: "192.0.2.21:80",
    cli_abrt: "4",
    srv_abrt: "2",
  };
  assert.deepEqual(pick(web1!, Object.keys(expected)), expected);
  assert.deepEqual(pick(web2!, ["addr", "chkdown", "lastchg", "downtime"]), {
    addr: "[2001:db8::22]:8080",
    chkdown: "1",
    lastchg: "10",
    downtime: "10",
  });
  assert.deepEqual(pick(spare!, ["act", "bck"]), { act: "0", bck: "1" });
  const sums = { scur: "8", stot: "202", act: "1", bck: "1", weight: "3", algo: "leastconn", lastchg: "10" };
  assert.deepEqual(pick(shop!, Object.keys(sums)), sums);
});

function pick(row: Record<string, string>, names: readonly string[]): Record<string, string | undefined> {
  return Object.fromEntries(names.map((name) => [name, row[name]]));
}

test("every figure is a whole number of the type that HAProxy gives it", () => {
  const lines = output("typed").trimEnd().split("\n");
  for (const line of lines) {
    const [, type, value] =
      /^[FSB]\.\d+\.\d+\.\d+\.\w+\.1:[MSKCP][ACDGLMNORTa][CPS]:(\w+):(.*)$/.exec(line) ?? [];
    assert.ok(type === "str" || /^\d+$/.test(value ?? ""), line);
  }
  assert.ok(lines.includes("S.4.1.17.status.1:SGP:str:UP 1/2"));
  assert.ok(lines.includes("F.2.0.9.bout.1:MCP:u64:820000"));
  assert.ok(lines.includes("B.4.0.7.stot.1:MCP:u64:202"));
});

test("JSON says the same as HAProxy's", () => {
  const all = JSON.parse(output("json"));
  assert.equal(all.length, 8);
  assert.deepEqual(all[0][3], {
    objType: "Frontend",
    proxyId: 2,
    id: 0,
    field: { pos: 5, name: "smax" },
    processNum: 1,
    tags: { origin: "Metric", nature: "Max", scope: "Process" },
    value: { type: "u32", value: 22 },
  });
  assert.deepEqual(JSON.parse(output("json", { proxy: "nobody" })), []);
});

test("rows can be asked for by proxy, kind and number", () => {
  const wanted: [string, string[]][] = [
    ["show stat -1 1 -1", ["shop-http/FRONTEND", "quiet/FRONTEND"]],
    ["show stat -1 2 -1", ["shop/BACKEND", "images/BACKEND"]],
    ["show stat shop 4 -1", ["shop/web1", "shop/web2", "shop/spare"]],
    ["show stat 4 -1 2", ["shop/web2"]],
    ["show stat shop 4 -1 up", ["shop/web1", "shop/spare"]],
    ["show stat domain proxy shop 4 1 text", ["shop/web1"]],
    ["show stat 77 -1 -1", []],
  ];
  for (const [text, names] of wanted) {
    const command = parseCommand(text);
    assert.ok(command.topic === "stat");
    const lines = records([...statPieces(rows, command.filter, command.format)].join(""));
    assert.deepEqual(
      lines.map(({ pxname, svname }) => `${pxname}/${svname}`),
      names,
      text,
    );
  }
});

test("formats stand behind, and what is no word is told", () => {
  const formats: [string, string][] = [
    ["show stat", "csv"],
    ["show stat text", "csv"],
    ["show stat json", "json"],
    ["show stat typed text", "typed"],
    ["show stat shop 4 1 json no-maint", "json"],
  ];
  for (const [text, format] of formats) {
    const command = parseCommand(text);
    assert.ok(command.topic === "stat");
    assert.equal(command.format, format, text);
  }
  const wrong: [string, string][] = [
    ["show stat jsn", "unknown word 'jsn'; did you mean 'json'?"],
    ["show stat shop", "unknown word 'shop'; expected text, json, typed, csv, up, no-maint or domain"],
    ["show servers stat", "unknown word 'stat'; did you mean 'state'?"],
    ["show servers state a b json", "unknown word 'b'; expected text, json or csv"],
    ["show sess 0x1", "unknown word '0x1'; expected text, json or csv"],
  ];
  for (const [text, message] of wrong) {
    assert.throws(() => parseCommand(text), { code: "COMMAND_UNKNOWN", message }, text);
  }
});

test("a node without a worker has its rows all the same, and nothing in them", () => {
  const view = nodeView(facts, [], [], observer(), 0);
  const lines = records([...statPieces(statRows(view), EVERYTHING, "csv")].join(""));
  assert.deepEqual(
    lines.map(({ svname, status, stot }) => `${svname} ${status} ${stot}`),
    [
      "FRONTEND STOP 0",
      "FRONTEND STOP 0",
      "web1 no check 0",
      "web2 no check 0",
      "spare no check 0",
      "BACKEND UP 0",
      "img no check 0",
      "BACKEND UP 0",
    ],
  );
});

test("what an operator said of a web server shows, and so does what waits for it", () => {
  const view = servedNode();
  const said = (change: Partial<WebServerSum>): NodeView => ({
    ...view,
    pools: view.pools.map(({ config, servers }) => ({
      config,
      servers: servers.map((server) => ({
        config: server.config,
        sum: server.sum === undefined ? undefined : Object.assign({}, server.sum, change),
      })),
    })),
  });
  const states: [change: Partial<WebServerSum>, status: string, admin: string][] = [
    [{ state: "maint", is_up: false, up_for: 0 }, "MAINT", "0 1 7 3"],
    [{ state: "drain", is_up: true, up_for: 2 }, "DRAIN", "2 8 7 3"],
    [{ state: "down", is_up: false, up_for: 0 }, "DOWN", "0 0 7 3"],
  ];
  for (const [change, status, admin] of states) {
    const shown = said({ ...change, weight: 7, waiting: 4 });
    const [web1] = records([...statPieces(statRows(shown), { ...EVERYTHING, types: 4 }, "csv")].join(""));
    assert.deepEqual(pick(web1!, ["status", "weight", "qcur"]), { status, weight: "7", qcur: "4" });
    assert.ok(serversState(shown, "shop", "text").includes(`web1 192.0.2.21 ${admin} `), status);
  }
});

test("the servers' state is HAProxy's format, version 1", () => {
  const lines = serversState(servedNode(), "shop", "text").split("\n");
  assert.equal(lines[0], "1");
  const titles = lines[1]!.slice(2).split(" ");
  assert.equal(titles.length, 25);
  assert.equal(lines[2], "4 shop 1 web1 192.0.2.21 2 0 3 3 10 1 0 1 0 0 0 0 - 80 - 0 0 - - 0");
  assert.equal(lines[3], "4 shop 2 web2 2001:db8::22 0 0 1 1 10 1 0 0 0 0 0 0 - 8080 - 0 0 - - 0");
  assert.equal(lines.length, 6);
  const { servers } = JSON.parse(serversState(servedNode(), undefined, "json"));
  assert.deepEqual([servers.length, servers[3].be_name, servers[3].srv_name], [4, "images", "img"]);
  assert.equal(serversState(servedNode(), "4", "csv").split("\n").length, 5);
});

const told = (change: Partial<WebServerCounters>): string =>
  statusOf({
    config: { id: "web1", address: "192.0.2.21", port: 80, weight: 1, backup: false },
    sum: { ...webServer(change), seen_by: 2, up_for: change.is_up === false ? 0 : 2 },
  });

test("what an operator has said of a web server stands as its status, in HAProxy's words", () => {
  assert.deepEqual(
    [
      told({}),
      told({ state: "drain" }),
      told({ state: "maint", is_up: false }),
      told({ state: "down", is_up: false }),
      told({ state: "passed over", is_up: false }),
    ],
    ["UP", "DRAIN", "MAINT", "DOWN", "DOWN"],
  );
});
