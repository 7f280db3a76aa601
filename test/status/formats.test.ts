/** Every table as text, CSV and JSON, and the documented keys of each in step with what is answered. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";
import type { BucketsReport, PublishedBody } from "../../conf/messages.ts";
import { isRecord } from "../../conf/record.ts";
import { TOPICS, type ShowTopic } from "../../conf/topics.ts";
import { answerCommand, parseCommand } from "../../status/commands.ts";
import { eventRing } from "../../status/event-ring.ts";
import type { Published } from "../../status/info.ts";
import { observer } from "../../status/observed.ts";
import { facts } from "./haproxy/node.ts";
import { failover, scheduler, vservers, worker } from "./samples.ts";

const owners = Buffer.alloc(256, 1).toString("base64");
const buckets: BucketsReport = {
  kind: "buckets",
  table_size: 256,
  owners,
  next: owners,
  previous: owners,
  idle_s: Buffer.alloc(4 * 256).toString("base64"),
};
const BODIES: Readonly<Record<string, PublishedBody>> = {
  buckets,
  vservers: vservers(),
  errors: {
    kind: "errors",
    refusals: [
      {
        at_ms: 0,
        kind: "request",
        vserver: "shop-http",
        client: "192.0.2.1",
        client_port: 1,
        web_server: null,
        status: 400,
        bad_at: 3,
        bytes: "R0VU",
        length: 3,
      },
    ],
  },
  connections: {
    kind: "connections",
    total: 1,
    connections: [
      {
        vserver: "shop-http",
        client: "192.0.2.1",
        client_port: 1,
        is_tls: false,
        phase: "head",
        phase_ms: 1,
        silent_ms: 1,
        pool: null,
        web_server: null,
        pending_bytes: 0,
      },
    ],
  },
};
const processOf = (kind: PublishedBody["kind"]): Published["hello"]["process"] =>
  kind === "failover" ? "failover" : kind === "buckets" || kind === "vservers" ? "scheduler" : "dlba-server";

async function answer(line: string): Promise<string> {
  const events = eventRing(10);
  events.add({
    at_ms: 0,
    kind: "takeover",
    severity: "warning",
    process: "failover",
    worker: 0,
    text: "t",
    facts: {},
  });
  const rows: Published[] = [
    { hello: { process: "dlba-server", worker: 0, pid: 1 }, body: worker() },
    { hello: { process: "scheduler", worker: 0, pid: 2 }, body: scheduler() },
    { hello: { process: "failover", worker: 0, pid: 3 }, body: failover() },
  ];
  const ask = async (topic: string): Promise<readonly Published[]> => {
    const body = BODIES[topic];
    return body === undefined
      ? rows
      : [{ hello: { process: processOf(body.kind), worker: 0, pid: 1 }, body }];
  };
  const sources = {
    facts,
    collector: { ask, absent: () => [], close: async () => undefined },
    observed: observer(),
    events,
    life: "1",
  };
  return [...(await answerCommand(parseCommand(line), sources))].join("");
}

/** Fields of the lines of a CSV; RFC 4180 but for line feeds inside of fields, which no table has. */
const csvFields = (line: string): number => [...line.matchAll(/(?:^|,)(?:"(?:[^"]|"")*"|[^,"]*)/g)].length;

describe("each table", () => {
  for (const topic of TOPICS) {
    test(`show ${topic} comes as text, CSV and JSON`, async () => {
      const detail = topic === "buckets" ? " 0-9" : "";
      const text = await answer(`show ${topic}${detail}`);
      assert.ok(text.length > 0 && !text.trimEnd().includes("\n\n") && text.endsWith("\n"));
      const [titles = "", ...rows] = (await answer(`show ${topic}${detail} csv`)).trimEnd().split("\n");
      assert.ok(rows.length > 0);
      for (const row of rows) assert.equal(csvFields(row), csvFields(titles), row);
      const json: unknown = JSON.parse(await answer(`show ${topic}${detail} json`));
      assert.ok(typeof json === "object" && json !== null);
    });
  }
});

const names = (text: string): string[] => [...text.matchAll(/`(\w+)`?/g)].map(([, name = ""]) => name);

/** `head`, and behind `list[]:` the keys of its entries, as docs/protocols.md writes them. */
function documented(topic: ShowTopic): { readonly head: string[]; readonly rows: string[] } {
  const document = readFileSync(new URL("../../docs/protocols.md", import.meta.url), "utf8");
  const line = document.split("\n").find((each) => each.startsWith(`| \`show ${topic}\` |`)) ?? "";
  const [before = "", behind = ""] = line.split("|")[2]!.split("[]`:");
  return { head: names(before), rows: names(behind) };
}

describe("docs/protocols.md names the keys of", () => {
  const tables = ["nodes", "web", "summary", "errors", "sess", "events"] as const;
  for (const topic of tables) {
    test(topic, async () => {
      const json: unknown = JSON.parse(await answer(`show ${topic} json`));
      assert.ok(isRecord(json));
      const list: unknown = Object.values(json).find(Array.isArray);
      assert.ok(Array.isArray(list) && isRecord(list[0]));
      const { head, rows } = documented(topic);
      assert.deepEqual(
        [head.toSorted(), rows.toSorted()],
        [Object.keys(json).toSorted(), Object.keys(list[0]).toSorted()],
      );
    });
  }
});
