/**
 * Every partition: `npm run chaos:partitions -- [--nodes 5] [--json]`. An array in a lab whose segment is parted in every way
 * that there is (4 for three nodes, 14 for four, 51 for five), each side with a client of its own, and healed again. Each
 * side has to serve its client meanwhile, and within 200 ms of healing one node schedules. Exits 1 with what was
 * wrong, and leaves nothing behind.
 */
import { parseArgs } from "node:util";
import { describeError } from "../../conf/errors.ts";
import { labUp } from "../../lab/up.ts";
import { type ChaosReport, runInLab } from "./in-lab.ts";
import { allUp } from "./all-up.ts";
import { openLeasePages } from "./leases.ts";
import { VIPS, writeConfig } from "./load.ts";
import { partAndHeal, type PartedArray, type PartingReport, sidesNamed } from "./parting.ts";
import { partitionsOf } from "./takeover-rounds.ts";

const HEALED_WITHIN_MS = 200;

const { values } = parseArgs({
  options: { nodes: { type: "string", default: "5" }, json: { type: "boolean", default: false } },
});

function say(text: string): void {
  if (!values.json) console.log(text);
}

interface WayReport extends Partial<PartingReport> {
  readonly sides: string;
  readonly wrong: string;
}

async function runWay(array: PartedArray, sides: readonly number[]): Promise<WayReport> {
  const text = sidesNamed(array.nodes, sides)
    .map((nodes) => nodes.join("+"))
    .join(" | ");
  try {
    const report = await partAndHeal(array, sides);
    const up = await allUp(array.state.name);
    const late =
      report.healed.took_ms <= HEALED_WITHIN_MS ? "" : "one schedules only later than 200 ms after healing";
    return { sides: text, ...report, wrong: [late, up.wrong].filter((wrong) => wrong !== "").join("; ") };
  } catch (error) {
    return { sides: text, wrong: describeError(error) };
  }
}

const rounded = (times_ms: readonly number[]): string => times_ms.map((time) => Math.round(time)).join("/");

function sayWay(
  i: number,
  count: number,
  { sides, parted = [], healed, known_ms = [], wrong }: WayReport,
): void {
  const taken = rounded(parted.map(({ took_ms }) => took_ms));
  const times = `parted ${taken} ms, healed ${rounded([healed?.took_ms ?? NaN])} ms, known within ${rounded(known_ms)} ms`;
  say(`${String(i + 1).padStart(String(count).length)}/${count}  ${sides}  ${times}`);
  if (wrong !== "") say(`  WRONG: ${wrong}`);
}

async function withLab(lab: string, dir: string, count: number): Promise<ChaosReport> {
  const numbers = Array.from({ length: count }, (_, i) => i + 1);
  say(`${count} nodes. Bringing up the lab …`);
  const { state } = await labUp({ name: lab, configFile: writeConfig(dir, numbers), clients: count });
  const array: PartedArray = {
    state,
    pages: openLeasePages(state),
    nodes: numbers.map((number) => `node${number}`),
    clients: numbers.map((number) => (number === 1 ? "client" : `client${number}`)),
    vips: VIPS,
  };
  const { wrong } = await allUp(lab);
  if (wrong !== "") throw new Error(wrong);
  const ways = partitionsOf(count);
  const reports: WayReport[] = [];
  for (const [i, sides] of ways.entries()) {
    const report = await runWay(array, sides);
    reports.push(report);
    sayWay(i, ways.length, report);
  }
  return conclude(reports);
}

function conclude(ways: readonly WayReport[]): ChaosReport {
  const bad = ways.filter(({ wrong }) => wrong !== "");
  const healed = ways.flatMap(({ healed }) => healed?.took_ms ?? []).toSorted((a, b) => a - b);
  const [median_ms, most_ms] = [healed[healed.length >> 1] ?? NaN, healed.at(-1) ?? NaN];
  const ok = bad.length === 0;
  const figures = `one scheduler after ${Math.round(median_ms)} ms (median), ${Math.round(most_ms)} ms (most)`;
  say(
    `${ok ? "Good" : "NOT GOOD"}: ${ways.length - bad.length} of ${ways.length} partitions. Healed: ${figures}.`,
  );
  return { ok, partitions: ways.length, healed_median_ms: median_ms, healed_most_ms: most_ms, ways };
}

function nodeCount(): number {
  const count = Number(values.nodes);
  if (Number.isInteger(count) && count >= 2 && count <= 6) return count;
  console.error("--nodes takes a number from 2 to 6");
  process.exit(2);
}

const count = nodeCount();
await runInLab("partitions", values.json, async (lab, dir) => withLab(lab, dir, count));
