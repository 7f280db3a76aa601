/** When all nodes of an array in a lab are up, as its scheduler has it. */
import { setTimeout as sleep } from "node:timers/promises";
import { monotonicNow_ms } from "../../lab/flow-report.ts";
import { labShow } from "../../lab/lab.ts";
import { labSchedulerSoon } from "../../lab/scheduler.ts";

const ALL_UP_WITHIN_MS = 60_000;

/** Waits until the scheduler's table says that all nodes are up: then each has the whole bucket table. */
export async function allUp(lab: string): Promise<{ allUp_ms: number; wrong: string }> {
  const started_ms = monotonicNow_ms();
  for (;;) {
    const rows = await nodeRows(lab);
    const allUp_ms = monotonicNow_ms() - started_ms;
    const notUp = rows.filter(({ state }) => state !== "up");
    if (rows.length > 0 && notUp.length === 0) return { allUp_ms, wrong: "" };
    if (allUp_ms > ALL_UP_WITHIN_MS) return { allUp_ms, wrong: `not up: ${JSON.stringify(notUp)}` };
    await sleep(20);
  }
}

type NodeRow = { readonly name: string; readonly state: string };

/** None when the scheduler's processes are just being started again, or another node takes over. */
async function nodeRows(lab: string): Promise<readonly NodeRow[]> {
  try {
    const table = await labShow(lab, await labSchedulerSoon(lab), "nodes");
    return (table as { readonly nodes: readonly NodeRow[] }).nodes;
  } catch {
    return [];
  }
}
