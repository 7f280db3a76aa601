/** `dlba rehearse` as an operator runs it: a configuration of their own, under faults, broken off, and refused. Needs root. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { text } from "node:stream/consumers";
import type { Rehearsal } from "../../../lab/rehearsal/rehearse.ts";

const DLBA = join(import.meta.dirname, "../../../bin/dlba");
const dir = mkdtempSync(join(tmpdir(), "dlba-rehearse-"));
after(() => rmSync(dir, { recursive: true }));

/** TLS on both sides, a web server on the nodes themselves, HTTP/2, PROXY headers both ways, a rule and a tcp vserver. */
const OWN = `array: { name: own, key_file: /nonexistent/array.key }
nodes:
  - { number: 1, name: lb1, address: 10.66.0.1, interface: ens3 }
  - { number: 2, name: lb2, address: 10.66.0.2, interface: ens3 }
vservers:
  - name: shop
    vips: [10.66.0.100]
    ports: [443]
    protocol: https
    hosts: ["*.example.org"]
    certificates: [{ certificate: /nonexistent/c.pem, key: /nonexistent/k.pem }]
    pool: app
    rules:
      - { when: [{ of: path, prefix: [/rpc/] }], pool: rpc }
      - { when: [{ of: path, exact: [/secret] }], deny: {} }
  - { name: front, vips: [10.66.0.101], ports: [80], protocol: http, pool: plain, proxy_protocol_from: [0.0.0.0/0] }
  - { name: lines, vips: [10.66.0.100], ports: [25], protocol: tcp }
pools:
  - name: app
    check: { type: http, path: /up, statuses: [204] }
    tls: { server_name: app.internal }
    servers: [{ id: app1, address: 10.66.1.1, port: 8443 }, { id: app2, address: 10.66.1.2, port: 8443 }]
  - { name: rpc, cookie: RPC, protocol: h2, check: { type: grpc }, tls: { server_name: rpc.internal }, servers: [{ id: rpc1, address: 10.66.1.1, port: 50051 }] }
  - { name: plain, send_proxy: v2, servers: [{ id: local, address: 127.0.0.1, port: 8080 }] }
`;

function write(name: string, content: string): string {
  const file = join(dir, name);
  writeFileSync(file, content);
  return file;
}

interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function start(args: readonly string[]): { interrupt: () => void; ended: Promise<Ended>; pid: number } {
  const child = spawn(DLBA, ["rehearse", ...args], { stdio: ["ignore", "pipe", "pipe"] });
  const ended = Promise.all([once(child, "close"), text(child.stdout), text(child.stderr)]).then(
    ([, stdout, stderr]) => ({ code: child.exitCode, stdout, stderr }),
  );
  return { interrupt: () => child.kill("SIGINT"), ended, pid: child.pid ?? 0 };
}

/** Namespaces and directories of a rehearsal's lab. */
function traces(pid: number): string[] {
  return ["/run/netns", "/run/dlba-lab", "/sys/fs/bpf"]
    .filter((place) => existsSync(place))
    .flatMap((place) => readdirSync(place).filter((name) => name.includes(`rehearse${pid}`)));
}

test("every vserver of an operator's configuration gets traffic, and serves on through all faults", async () => {
  const { ended, pid } = start([write("own.yaml", OWN), "--faults", "--seconds", "1", "--json"]);
  const { code, stdout, stderr } = await ended;
  assert.equal(code, 0, stdout + stderr);
  const { ok, problems, targets, phases, changes } = JSON.parse(stdout) as Rehearsal;
  assert.deepEqual([ok, problems], [true, []]);
  assert.deepEqual(
    targets.map(({ vserver, what, expected, pool }) => [vserver, what, expected, pool]),
    [
      ["shop", "GET /", 200, "app"],
      ["shop", "GET /rpc/ (rules[0])", 200, "rpc"],
      ["shop", "GET /secret (rules[1])", 403, null],
      ["front", "GET /", 200, "plain"],
      ["lines", "a line", 0, null],
    ],
  );
  assert.ok(targets.every(({ requests, failures }) => requests > 5 && failures === 0));
  assert.deepEqual(Object.keys(targets[0]!.by).toSorted(), ["app1", "app2"]);
  assert.deepEqual(
    phases.map(({ what }) => what.replace(/lb\d/, "N")),
    [
      "calm",
      "worker of N killed",
      "web server app1 of pool app killed",
      "node N cut off and killed",
      "the scheduler N cut off and killed",
      "calm again",
    ],
  );
  assert.ok(phases.every(({ requests }) => requests > 0));
  assert.ok(changes.some((change) => change.includes("127.0.0.1")));
  assert.deepEqual(traces(pid), []);
});

test("a rehearsal that is interrupted leaves nothing, and exits as interrupted programs do", async () => {
  const { interrupt, ended, pid } = start([write("cut.yaml", OWN)]);
  while (traces(pid).length < 3) await sleep(20);
  interrupt();
  assert.equal((await ended).code, 130);
  assert.deepEqual(traces(pid), []);
});

test("a configuration with errors, and one that is too large, are refused before anything is made", async () => {
  const wrong = await start([write("wrong.yaml", OWN.replace("pool: app", "pool: ap"))]).ended;
  assert.equal(wrong.code, 1);
  assert.match(wrong.stderr, /wrong\.yaml:12:11: there is no pool 'ap'; did you mean 'app'\?/);
  const nodes = Array.from(
    { length: 17 },
    (_, i) => `  - { number: ${i}, name: n${i}, address: 10.9.0.${i + 1}, interface: e0 }`,
  );
  const large = OWN.replace(/nodes:\n(?: {2}- .*\n)+/, `nodes:\n${nodes.join("\n")}\n`);
  const refused = await start([write("large.yaml", large)]).ended;
  assert.equal(refused.code, 3);
  assert.match(refused.stderr, /17 nodes and 3 web servers are too many/);
});
