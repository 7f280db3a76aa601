import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import * as fc from "fast-check";
import { METRICS_WEB_SERVERS } from "../../../conf/limits.ts";
import type { NodeView } from "../../../status/node-view.ts";
import { expositionFor, expositionPieces, type Family } from "../../../status/metrics/exposition.ts";
import { metricFamilies } from "../../../status/metrics/families.ts";
import { servedNode } from "../haproxy/node.ts";
import { failover, NOW_MS, scheduler, supervisor } from "../samples.ts";
import { readExposition } from "./exposition-reader.ts";

/** A node that schedules. */
function schedulingNode(): NodeView {
  const view = servedNode();
  const [scheduling, voting] = [scheduler(), failover()];
  return {
    ...view,
    published: [
      ...view.published,
      { hello: { process: "scheduler", worker: 0, pid: 1 }, body: scheduling },
      { hello: { process: "failover", worker: 0, pid: 2 }, body: voting },
      { hello: { process: "supervisor", worker: 0, pid: 3 }, body: supervisor() },
    ],
  };
}
const certificates = [{ file: '/etc/dlba/"odd"\\name.pem', not_after_ms: NOW_MS + 500 }];
const text = (families: readonly Family[], form: "prometheus" | "openmetrics"): string =>
  [...expositionPieces(families, form)].join("");

for (const form of ["prometheus", "openmetrics"] as const) {
  test(`all metrics are well formed: ${form}`, () => {
    const families = readExposition(text(metricFamilies(schedulingNode(), certificates), form), form);
    const total = (name: string): string => (form === "openmetrics" ? name : `${name}_total`);
    const value = (family: string, sample: string): number | undefined =>
      families.get(family)?.samples.get(sample);
    assert.equal(
      value(total("dlba_vserver_requests"), 'dlba_vserver_requests_total{vserver="shop-http"}'),
      258,
    );
    assert.equal(
      value(
        total("dlba_web_server_responses"),
        'dlba_web_server_responses_total{class="2xx",pool="shop",web_server="web1"}',
      ),
      180,
    );
    assert.equal(
      value("dlba_web_server_up_ratio", 'dlba_web_server_up_ratio{pool="shop",web_server="web1"}'),
      0.5,
    );
    assert.equal(
      value(
        "dlba_web_server_response_seconds",
        'dlba_web_server_response_seconds_sum{pool="shop",web_server="web1"}',
      ),
      0.5,
    );
    assert.equal(value("dlba_config_version", "dlba_config_version{}"), 7);
    assert.equal(value("dlba_config_running_version", "dlba_config_running_version{}"), 6);
    assert.equal(value("dlba_is_scheduler", "dlba_is_scheduler{}"), 1);
    assert.equal(value("dlba_node_state", 'dlba_node_state{node="node12",state="down"}'), 1);
    assert.equal(value("dlba_sweep_age_seconds", "dlba_sweep_age_seconds{}"), 2);
    assert.equal(
      value(
        "dlba_certificate_not_after_timestamp_seconds",
        'dlba_certificate_not_after_timestamp_seconds{file="/etc/dlba/\\"odd\\"\\\\name.pem"}',
      ),
      NOW_MS / 1000 + 0.5,
    );
    const build = families.get(form === "openmetrics" ? "dlba_build" : "dlba_build_info");
    assert.equal(build?.type, form === "openmetrics" ? "info" : "gauge");
  });
}

test("names are of ours, in seconds and bytes, and a node without any process has metrics, too", () => {
  const alone: NodeView = { ...servedNode(), published: [], workers: [], pools: [], vservers: [] };
  const few = readExposition(text(metricFamilies(alone, []), "prometheus"), "prometheus");
  assert.equal(few.get("dlba_process_up")?.samples.get('dlba_process_up{process="scheduler"}'), 0);
  assert.ok(!few.has("dlba_is_scheduler"));
  for (const { name } of metricFamilies(schedulingNode(), certificates)) {
    assert.match(name, /^dlba_[a-z][a-z0-9_]*$/);
    assert.doesNotMatch(name, /_(?:ms|us|total|info|count|sum)$/);
  }
});

test("of web servers a bounded number is told, and how many are not", () => {
  const view = servedNode();
  const [pool] = view.pools;
  const [server] = pool!.servers;
  const servers = Array.from({ length: METRICS_WEB_SERVERS + 7 }, (_, i) => ({
    config: server!.config,
    sum: { ...server!.sum!, id: `web${i}` },
  }));
  const many = { ...view, pools: [{ config: pool!.config, servers }] };
  const families = readExposition(text(metricFamilies(many, []), "prometheus"), "prometheus");
  assert.equal(families.get("dlba_web_servers_left_out")?.samples.get("dlba_web_servers_left_out{}"), 7);
  assert.equal(families.get("dlba_web_server_requests_total")?.samples.size, METRICS_WEB_SERVERS);
});

test("any label's text is written so that it can be read", () => {
  fc.assert(
    fc.property(
      fc.string({ unit: "binary" }),
      fc.double({ noNaN: true, noDefaultInfinity: true, min: 0 }),
      (label, value) => {
        const family: Family = {
          name: "x",
          type: "counter",
          help: "Help.",
          samples: [{ labels: { label }, value }],
        };
        const read = readExposition(text([family], "openmetrics"), "openmetrics").get("x")!.samples;
        const [[key, found] = ["", NaN]] = read;
        const escaped = /label="(.*)"\}$/s.exec(key)![1]!;
        const back = escaped.replaceAll(/\\(.)/g, (_, letter: string) => (letter === "n" ? "\n" : letter));
        assert.deepEqual([back, found], [label, value]);
      },
    ),
  );
});

test("the scraper chooses the format", () => {
  assert.equal(expositionFor(undefined), "prometheus");
  assert.equal(expositionFor("*/*"), "prometheus");
  assert.equal(expositionFor("application/openmetrics-text;version=1.0.0,text/plain;q=0.5"), "openmetrics");
});

/** Metrics that a text speaks of. */
const named = (file: string): string[] => [
  ...new Set(readFileSync(new URL(`../../../${file}`, import.meta.url), "utf8").match(/\bdlba_[a-z0-9_]+/g)),
];

test("alert rules, the dashboard and the documents speak of metrics that exist", () => {
  const families = metricFamilies(schedulingNode(), certificates);
  const samples = readExposition(text(families, "prometheus"), "prometheus");
  const known = new Set(
    [...samples.values()].flatMap(({ samples }) => [...samples.keys()].map((key) => key.split("{")[0]!)),
  );
  for (const file of [
    "docs/monitoring/alerts.yaml",
    "docs/monitoring/dashboard.json",
    "docs/monitoring.md",
  ]) {
    assert.deepEqual(
      named(file).filter((name) => !known.has(name)),
      [],
      file,
    );
  }
  const told = named("docs/monitoring.md");
  assert.deepEqual(
    [...known].filter((name) => !told.includes(name)),
    [],
    "docs/monitoring.md tells of every metric",
  );
});
