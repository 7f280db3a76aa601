/**
 * `npm run fuzz -- --seconds N [--seed S] [--target T]`: all targets in turn, a batch each, until the time is over or
 * `--runs` inputs of each have been tried. What fails is made as short as can be and printed as a line for fuzz.test.ts; the
 * search goes on with the other targets, and the exit code is 1.
 *
 * In the first half of the time the coverage tells which inputs are worth mutating; in the second half, without the cost of
 * that, three times as many are tried. `--blind` leaves it out altogether.
 */
import { randomInt } from "node:crypto";
import { parseArgs } from "node:util";
import { type Coverage, startCoverage } from "./coverage.ts";
import { asTest, type Finding, type Search, searchOn, startSearch } from "./fuzzer.ts";
import { TARGETS, targetCalled } from "./targets.ts";

const REPORT_EVERY_MS = 60_000;

const { values } = parseArgs({
  options: {
    seconds: { type: "string", default: "60" },
    runs: { type: "string", default: "Infinity" },
    seed: { type: "string" },
    blind: { type: "boolean", default: false },
    target: { type: "string", multiple: true },
  },
});
const seconds = Number(values.seconds);
const runs = Number(values.runs);
const seed = values.seed === undefined ? randomInt(2 ** 31) : Number(values.seed);
if (![seconds, runs].every((bound) => bound > 0) || !Number.isInteger(seed))
  throw new Error("--seconds and --runs take a number above 0, --seed a whole number");

const targets = values.target?.map(targetCalled) ?? TARGETS;
const searches = targets.map((target) => startSearch(target, seed));
console.log(`Seed ${seed}; ${seconds} s over ${targets.map(({ name }) => name).join(", ")}.`);
let coverage: Coverage | undefined = values.blind ? undefined : startCoverage();
const findings: Finding[] = [];
const started_ms = performance.now();
let reported_ms = started_ms;
let left: readonly Search[] = searches;
while (left.length > 0 && performance.now() - started_ms < seconds * 1000) {
  left = left.filter(goOn);
  if (coverage !== undefined && performance.now() - started_ms > seconds * 500) {
    coverage.stop();
    coverage = undefined;
  }
  if (performance.now() - reported_ms < REPORT_EVERY_MS) continue;
  reported_ms = performance.now();
  report();
}
coverage?.stop();
report();
console.log(findings.length === 0 ? "Clean." : `${findings.length} findings:`);
for (const finding of findings) console.log(asTest(finding));
process.exitCode = findings.length === 0 ? 0 : 1;

/** A batch of one target; whether it is to go on. */
function goOn(search: Search): boolean {
  const finding = searchOn(search, coverage);
  if (finding === undefined) return search.runs < runs;
  findings.push(finding);
  console.log(`${finding.target} fails after ${search.runs} inputs (seed ${seed}): ${finding.reason}`);
  console.log(asTest(finding));
  return false;
}

function report(): void {
  const took_s = ((performance.now() - started_ms) / 1000).toFixed(0);
  const counts = searches.map(
    ({ target, runs: tried, pool, known }) =>
      `${target.name} ${tried} (${pool.length} kept, ${known.size} pieces)`,
  );
  console.log(`${took_s} s: ${counts.join(", ")}`);
}
