/** Bad configurations reach no process of a node that runs, by whatever way they come. Needs root. */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { supervisorSocket } from "../../cli/places.ts";
import { isRecord, parseJson } from "../../conf/record.ts";
import { labDown, labExec, labStatus } from "../../lab/lab.ts";
import { hostNamed } from "../../lab/planned-host.ts";
import type { LabHost, LabState } from "../../lab/state.ts";
import { labUp } from "../../lab/up.ts";
import { askAdmin } from "../../net/admin-socket.ts";
import { MUTATIONS } from "../conf/bad-configurations.ts";

const LAB = `bad${process.pid}`;
const EXAMPLES = join(import.meta.dirname, "../../conf/examples");
const DLBA = join(import.meta.dirname, "../../bin/dlba");
const directory = mkdtempSync(join(tmpdir(), "dlba-bad-"));

const mutated = ({ file, from, to }: (typeof MUTATIONS)[number]): string =>
  readFileSync(join(EXAMPLES, `${file}.yaml`), "utf8").replace(from, () => to);

const running = async (): Promise<string> => {
  const { hosts } = await labStatus(LAB);
  return hostNamed(hosts, "node1")
    .processes.map(({ pid }) => pid)
    .toSorted((a, b) => a - b)
    .join();
};

describe("a node that runs", () => {
  let state: LabState;
  let node: LabHost;
  let good: string;
  let processes: string;
  const isServed = async (): Promise<boolean> =>
    (await labExec(LAB, "client", ["curl", "-sf", "-m", "5", `http://${state.vips[0]}/id`])).stdout ===
    "web1\n";

  before(async () => {
    ({ state } = await labUp({ name: LAB, nodes: 1, webs: 1 }));
    node = hostNamed(state.hosts, "node1");
    good = readFileSync(state.config_file, "utf8");
    processes = await running();
  });
  after(async () => {
    await labDown(LAB);
    rmSync(directory, { recursive: true });
  });

  test("refuses to reload each of them, says where the mistake is, and goes on with what it has", async () => {
    const started = readFileSync(node.log_file, "utf8").split('"process started"').length;
    for (const mutation of MUTATIONS) {
      writeFileSync(state.config_file, mutated(mutation));
      const answer = parseJson(
        await askAdmin({ path: supervisorSocket(node.run_dir), line: "reload", timeout_ms: 30_000 }),
      );
      assert.ok(isRecord(answer) && answer["ok"] === false, mutation.name);
      const [line = ""] = Array.isArray(answer["lines"]) ? answer["lines"].map(String) : [];
      assert.match(line, /dlba\.yaml:\d+:\d+: .+; .+/, mutation.name);
    }
    writeFileSync(state.config_file, good);
    assert.equal(await running(), processes);
    assert.equal(readFileSync(node.log_file, "utf8").split('"process started"').length, started);
    assert.ok(await isServed());
  });

  test("is not even asked when one of them is pushed", async () => {
    const socket = ["--run-dir", node.run_dir];
    for (const mutation of [
      MUTATIONS[0]!,
      MUTATIONS.find(({ name }) => name.includes("regular expression"))!,
    ]) {
      const file = join(directory, "bad.yaml");
      writeFileSync(file, mutated(mutation));
      const { code, stderr } = await labExec(LAB, "node1", [DLBA, "push", file, "--yes", ...socket]);
      assert.equal(code, 1, stderr);
      assert.match(stderr, /bad\.yaml:\d+:\d+: .+; .+/);
    }
    assert.equal(await running(), processes);
    assert.ok(await isServed());
  });
});
