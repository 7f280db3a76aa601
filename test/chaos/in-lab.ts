/** What all chaos commands have in common: a lab that is gone afterwards, a directory for its files, a report, an exit code. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describeError } from "../../conf/errors.ts";
import { downOnInterrupt } from "../../lab/interrupt.ts";
import { labDown } from "../../lab/lab.ts";

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
    return { ...facts, ok: false, reason: describeError(error) };
  } finally {
    await labDown(lab);
  }
}
