/** What all chaos commands have in common: a lab that is gone afterwards, a directory for its files, a report, an exit code. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describeError } from "../../conf/errors.ts";
import { monotonicNow_ms } from "../../lab/flow-report.ts";
import { downOnInterrupt } from "../../lab/interrupt.ts";
import { labDown } from "../../lab/lab.ts";
import { labPlaces } from "../../lab/places.ts";
import { stateOf } from "../../lab/state.ts";

export interface ChaosReport {
  readonly ok: boolean;
  readonly [part: string]: unknown;
}

type Run = (lab: string, dir: string) => Promise<ChaosReport>;

/**
 * Runs a command in a lab of its own, prints its report if that is wanted, and ends the process: with 1 unless all was well.
 * `facts` stand in the report when the command could not be carried out.
 */
export async function runInLab(
  name: string,
  isJson: boolean,
  run: Run,
  facts: Readonly<Record<string, unknown>> = {},
): Promise<never> {
  const lab = `${name}${process.pid}`;
  const dir = mkdtempSync(join(tmpdir(), `dlba-${name}-`));
  downOnInterrupt(lab);
  process.on("exit", () => rmSync(dir, { recursive: true, force: true }));
  const report = await reportOf(lab, dir, run, facts);
  if (isJson) console.log(JSON.stringify(report, undefined, 2));
  process.exit(report.ok ? 0 : 1);
}

async function reportOf(lab: string, dir: string, run: Run, facts: object): Promise<ChaosReport> {
  try {
    return await run(lab, dir);
  } catch (error) {
    console.error(describeError(error));
    for (const line of electionLines(lab)) console.error(line);
    return { ...facts, ok: false, reason: describeError(error) };
  } finally {
    await labDown(lab);
  }
}

const MAX_LINES = 40;
const timeOf = (line: string): string => /"time":"([^"]*)"/.exec(line)?.[1] ?? "";

/**
 * What the nodes' failover processes have told last, in order: why somebody took over. Nothing while there is no lab. `until`:
 * up to a moment of CLOCK_MONOTONIC.
 */
export function electionLines(lab: string, until_ms = Infinity): string[] {
  const last = new Date(Date.now() - Math.max(0, monotonicNow_ms() - until_ms)).toISOString();
  return logsOf(lab)
    .flatMap((log) => log.split("\n"))
    .filter((line) => line.includes('"process":"failover"') && line.includes('"event":'))
    .filter((line) => timeOf(line) <= last)
    .toSorted((a, b) => timeOf(a).localeCompare(timeOf(b)))
    .slice(-MAX_LINES);
}

function logsOf(lab: string): string[] {
  try {
    const nodes = stateOf(labPlaces(lab)).hosts.filter(({ kind }) => kind === "node");
    return nodes.map(({ log_file }) => readFileSync(log_file, "utf8"));
  } catch {
    // It has not come so far.
    return [];
  }
}
