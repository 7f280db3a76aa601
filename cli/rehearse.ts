/** `dlba rehearse FILE`: an operator's own configuration in a lab on this machine, and what clients would have noticed. */
import { type Command, InvalidArgumentError } from "commander";
import type { PhaseFigures, TargetFigures } from "../lab/rehearsal/report.ts";
import type { Rehearsal } from "../lab/rehearsal/rehearse.ts";
import { EXIT } from "./exit-codes.ts";

interface RehearseOptions {
  readonly faults?: boolean;
  readonly seconds: number;
  readonly json?: boolean;
}

const LEAST_S = 1;
const MOST_S = 600;

/** Adds `rehearse` to the program. */
export function registerRehearse(program: Command): void {
  program
    .command("rehearse")
    .description("run a configuration in a lab on this machine, with stand-in web servers (needs root)")
    .argument("<file>", "the array's configuration file")
    .option("--faults", "kill a worker, web servers, a node and the scheduler, one after the other")
    .option("--seconds <count>", "how long each state is looked at", seconds, 5)
    .option("--json", "the figures as one JSON object")
    .action(async (file: string, options: RehearseOptions) => {
      process.exitCode = await run(file, options);
    });
}

function seconds(text: string): number {
  const count = Number(text);
  if (Number.isInteger(count) && count >= LEAST_S && count <= MOST_S) return count;
  throw new InvalidArgumentError(`expected a number from ${LEAST_S} to ${MOST_S}`);
}

async function run(
  file: string,
  { faults = false, seconds, json = false }: RehearseOptions,
): Promise<number> {
  const { rehearse } = await import("../lab/rehearsal/rehearse.ts");
  const { downOnInterrupt } = await import("../lab/interrupt.ts");
  const name = `rehearse${process.pid}`;
  downOnInterrupt(name);
  const say = (text: string): void => void (json || process.stderr.write(`${text}\n`));
  const rehearsal = await rehearse({ file, hasFaults: faults, phase_s: seconds, name, say });
  process.stdout.write(json ? `${JSON.stringify(rehearsal, undefined, 2)}\n` : rehearsalText(rehearsal));
  return rehearsal.ok ? EXIT.ok : EXIT.found;
}

/** The figures for people. */
export function rehearsalText({
  array,
  ok,
  problems,
  not_tried,
  targets,
  phases,
  took_s,
}: Rehearsal): string {
  const lines = [
    "",
    "What was asked while nothing was done to the array:",
    ...table(TARGET_HEAD, targets.map(targetRow)),
    "",
    "What clients would have noticed:",
    ...table(PHASE_HEAD, phases.map(phaseRow)),
    ...phases.filter(({ is_fault }) => is_fault).flatMap(kindsLine),
  ];
  if (not_tried.length > 0) lines.push("", "Not tried:", ...not_tried.map((what) => `  ${what}`));
  if (problems.length > 0) lines.push("", "Problems:", ...problems.map((what) => `  ${what}`));
  lines.push("", `${ok ? "Good" : "NOT GOOD"}: array ${array}, rehearsed in ${took_s} s.`);
  return `${lines.join("\n")}\n`;
}

const TARGET_HEAD = [
  "vserver",
  "request",
  "at",
  "pool",
  "wanted",
  "requests",
  "failed",
  "slowest",
  "answered by",
];
const PHASE_HEAD = ["what", "requests", "failed", "of them kept", "longest gap", "slowest"];
const MOST_NAMES = 4;

function targetRow(figures: TargetFigures): string[] {
  const { vserver, what, at, pool, expected, requests, failures, limited, slowest_ms, by } = figures;
  const names = Object.keys(by).toSorted();
  const more = names.length > MOST_NAMES ? ` and ${names.length - MOST_NAMES} more` : "";
  const failed = limited > 0 ? `${failures} (${limited} limited)` : String(failures);
  return [
    vserver,
    what,
    at,
    pool ?? "-",
    expected === 0 ? "answer" : String(expected),
    String(requests),
    failed,
    `${slowest_ms} ms`,
    names.length === 0 ? "-" : names.slice(0, MOST_NAMES).join(" ") + more,
  ];
}

function phaseRow(figures: PhaseFigures): string[] {
  const { what, requests, failures, failures_on_kept, longest_gap_ms, gap_of, slowest_ms } = figures;
  const gap = gap_of === null ? "0 ms" : `${longest_gap_ms} ms (${gap_of})`;
  return [what, String(requests), String(failures), String(failures_on_kept), gap, `${slowest_ms} ms`];
}

function kindsLine({ what, kinds }: PhaseFigures): string[] {
  const list = Object.entries(kinds).map(([kind, count]) => `${kind} × ${count}`);
  return list.length === 0 ? [] : [`  ${what}: ${list.join(", ")}`];
}

function table(head: readonly string[], rows: readonly string[][]): string[] {
  const all = [head, ...rows];
  const widths = head.map((_, i) => Math.max(...all.map((row) => row[i]?.length ?? 0)));
  return all.map((row) => `  ${row.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join("  ")}`.trimEnd());
}
