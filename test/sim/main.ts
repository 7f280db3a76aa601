/**
 * The election against the worst that can be thought of: `npm run sim -- --seed 1 --steps 6 --runs 10000`. Run after run
 * with the seeds from the first one on; one that fails is made as small as it gets, and told as a transcript.
 */
import { once } from "node:events";
import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { mixedPlanOf, type PlanOptions } from "./plan.ts";
import { run } from "./run.ts";
import { shrink } from "./shrink.ts";

interface Share extends PlanOptions {
  readonly runs: number;
  /** From one seed to the next. */
  readonly stride: number;
}
interface Sums {
  readonly seed: number;
  readonly counts: Record<string, number>;
  readonly failed: number | undefined;
}
const REPORT_EVERY = 250;

/** Runs a share, and tells now and then how far it is; the first failure ends it. */
function work({ runs, stride, ...options }: Share, tell: (sums: Sums) => void): void {
  let counts: Record<string, number> = { runs: 0 };
  for (let i = 0; i < runs; i++) {
    const seed = options.seed + i * stride;
    const { violation, counts: more } = run(mixedPlanOf({ ...options, seed }));
    counts["runs"]! += 1;
    for (const [name, count] of Object.entries(more)) counts[name] = (counts[name] ?? 0) + count;
    const isLast = i === runs - 1 || violation !== undefined;
    if (!isLast && counts["runs"]! < REPORT_EVERY) continue;
    tell({ seed, counts, failed: violation && seed });
    counts = { runs: 0 };
    if (violation !== undefined) return;
  }
}

/** Makes a failing run small, and tells it. */
function explain(options: PlanOptions): void {
  const plan = mixedPlanOf(options);
  const { violation } = run(plan);
  if (violation === undefined) return;
  const small = shrink(plan, violation.kind);
  console.log(run(small, undefined, true).lines.join("\n"));
  console.log(`\nseed ${options.seed}: ${small.faults.length} of ${plan.faults.length} faults are enough`);
  console.log(JSON.stringify({ ...small, faults: undefined }));
  for (const fault of small.faults) console.log(JSON.stringify(fault));
  console.log(`${violation.kind}: ${violation.text}`);
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      seed: { type: "string", default: "1" },
      steps: { type: "string", default: "5" },
      runs: { type: "string", default: "1" },
      nodes: { type: "string" },
    },
  });
  const nodes = values.nodes === undefined ? undefined : Number(values.nodes);
  const options = { seed: Number(values.seed), steps: Number(values.steps), nodes };
  const runs = Number(values.runs);
  if (runs === 1) console.log(run(mixedPlanOf(options), undefined, true).lines.join("\n"));
  const failed = await runAll(options, runs);
  if (failed === undefined) return;
  explain({ ...options, seed: failed });
  process.exitCode = 1;
}

async function runAll(options: PlanOptions, runs: number): Promise<number | undefined> {
  const started_ms = performance.now();
  const totals: Record<string, number> = {};
  let failed: number | undefined;
  const tell = (sums: Sums): void => {
    failed ??= sums.failed;
    for (const [name, count] of Object.entries(sums.counts)) totals[name] = (totals[name] ?? 0) + count;
  };
  const stride = Math.min(availableParallelism(), Math.ceil(runs / REPORT_EVERY));
  const shares = Array.from({ length: stride }, (_, i): Share => {
    return { ...options, seed: options.seed + i, runs: Math.ceil((runs - i) / stride), stride };
  });
  if (stride === 1) shares.forEach((share) => work(share, tell));
  else await Promise.all(shares.map((share) => inWorker(share, tell)));
  const seconds = (performance.now() - started_ms) / 1000;
  const { runs: done = 0, ...rest } = totals;
  const counts = Object.entries(rest).map(([name, count]) => `${count} ${name}`);
  console.log(
    `${done} runs in ${seconds.toFixed(1)} s (${(done / seconds).toFixed(0)}/s): ${counts.join(", ")}`,
  );
  return failed;
}

async function inWorker(share: Share, tell: (sums: Sums) => void): Promise<void> {
  const worker = new Worker(new URL(import.meta.url), { workerData: share });
  worker.on("message", tell);
  await once(worker, "exit");
}

// oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread's port has no origin
if (!isMainThread) work(workerData as Share, (sums) => parentPort?.postMessage(sums));
else if (import.meta.main) await main();
