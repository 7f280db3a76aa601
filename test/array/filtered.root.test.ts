/** A switch that lets no heartbeat through: ICMP echoes are the second opinion, and one node schedules all the same. Needs root. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { monotonicNow_ms } from "../../lab/flow-report.ts";
import { labCut, labDown, labHeal, labKill, labStartNode } from "../../lab/lab.ts";
import { labPlaces } from "../../lab/places.ts";
import type { LabState } from "../../lab/state.ts";
import { runIn } from "../../lab/topology.ts";
import { labUp } from "../../lab/up.ts";
import { allUp } from "../chaos/all-up.ts";
import { agreement, answering, openLeasePages, type LeasePages } from "../chaos/leases.ts";
import { electionLines } from "../chaos/in-lab.ts";
import { writeConfig } from "../chaos/load.ts";

const LAB = `e${process.pid}`;
const DIR = mkdtempSync(join(tmpdir(), "dlba-filtered-"));
const NODES = ["node1", "node2", "node3"] as const;
const WITHIN_MS = 60_000;
/** Longer than an echo holds a claim where somebody might still be about to come. */
const WATCHED_MS = 3000;
const TABLE = "bridge no_heartbeats";
const NO_HEARTBEATS = `table ${TABLE} {
  chain forward { type filter hook forward priority 0; policy accept; ether type 0x88b5 drop; }
}
`;

async function applyRules({ segments }: LabState, rules: string): Promise<void> {
  const { namespacePrefix } = labPlaces(LAB);
  for (const segment of segments) await runIn(namespacePrefix + segment, ["nft", "-f", "-"], rules);
}

describe("an array whose switch lets no heartbeat through", () => {
  let state: LabState;
  let pages: LeasePages;
  before(async () => {
    const configFile = writeConfig(DIR, [1, 2, 3]);
    ({ state } = await labUp({ name: LAB, configFile, idleNodes: [1, 2, 3] }));
    await applyRules(state, NO_HEARTBEATS);
    for (const node of NODES) await labStartNode(LAB, node);
    pages = openLeasePages(state);
  });
  after(async () => {
    // Undefined when the lab did not come up.
    (pages as LeasePages | undefined)?.close();
    await labDown(LAB);
    rmSync(DIR, { recursive: true });
  });

  const whoAnswers = (among: readonly string[]): string[] => answering(pages.read(among), monotonicNow_ms());

  async function untilAnswers(node: string, among: readonly string[]): Promise<void> {
    const deadline_ms = monotonicNow_ms() + WITHIN_MS;
    while (!whoAnswers(among).includes(node)) {
      assert.ok(monotonicNow_ms() < deadline_ms, `${node} does not schedule`);
      await sleep(5);
    }
  }

  /** One schedules, and no other one does. A machine that stands still for longer than a lease has nobody for a moment. */
  async function onlyAnswers(node: string, among: readonly string[]): Promise<void> {
    await untilAnswers(node, among);
    const end_ms = monotonicNow_ms() + WATCHED_MS;
    while (monotonicNow_ms() < end_ms) {
      if (whoAnswers(among).some((name) => name !== node))
        assert.fail(`not only ${node} schedules:\n${electionLines(LAB).join("\n")}`);
      await sleep(5);
    }
    await untilAnswers(node, among);
  }

  test("the first in rank schedules, and nobody claims while it answers pings", async () => {
    await onlyAnswers("node1", NODES);
  });

  test("it dies, and the next in rank schedules, alone", async () => {
    await labCut(LAB, "node1");
    await labKill(LAB, "node1");
    await onlyAnswers("node2", ["node2", "node3"]);
  });

  test("heartbeats come through again, and all follow one", async () => {
    await applyRules(state, `delete table ${TABLE}\n`);
    await labHeal(LAB, "node1");
    assert.equal((await allUp(LAB)).wrong, "");
    assert.equal((await agreement(pages, NODES, WITHIN_MS)).wrong, "");
  });
});
