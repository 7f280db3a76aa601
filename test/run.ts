/**
 * All checks and tests of the project, in order: format, lint, types, unused code, unit tests, then the tests
 * that need root (network namespaces, XDP), which mostly wait: the unit tests have the time that is left over. Ends with a
 * summary, and exits 1 when anything failed.
 */
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { globSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { setPriority, tmpdir } from "node:os";
import { join } from "node:path";
import { leftoversSince, traces } from "./leftovers.ts";

const ROOT = join(import.meta.dirname, "..");
const ROOT_TESTS = "test/**/*.root.test.ts";
/** No single test may hang the run. */
const TEST_TIMEOUT_MS = 180_000;

interface Result {
  readonly name: string;
  readonly outcome: "passed" | "FAILED" | "not run";
  readonly detail: string;
}

const results: Result[] = [];

function heading(name: string): void {
  console.log(`\n== ${name} ${"=".repeat(Math.max(3, 70 - name.length))}`);
}

function step(name: string, program: string, args: readonly string[]): void {
  heading(name);
  const started_ms = Date.now();
  const run = spawnSync(program, args, { cwd: ROOT, stdio: "inherit", env: environment() });
  if (run.error !== undefined) console.error(String(run.error));
  conclude(name, run.status === 0, started_ms);
}

function conclude(name: string, isGood: boolean, started_ms: number): void {
  const took = `${((Date.now() - started_ms) / 1000).toFixed(1)} s`;
  results.push({ name, outcome: isGood ? "passed" : "FAILED", detail: took });
}

const BEHIND_OTHERS = 10;

/** Starts a step that goes on beside the next ones, which come first. Call what it returns to wait for it and see what it said. */
function stepAside(name: string, program: string, args: readonly string[]): () => Promise<void> {
  const started_ms = Date.now();
  const dir = mkdtempSync(join(tmpdir(), "dlba-run-"));
  const file = join(dir, "output");
  // A file, not a pipe: nobody reads while the other steps run.
  const output = openSync(file, "w");
  const child = spawn(program, args, { cwd: ROOT, stdio: ["ignore", output, output], env: environment() });
  if (child.pid !== undefined) setPriority(child.pid, BEHIND_OTHERS);
  const closed = once(child, "close") as Promise<[number | null]>;
  return async () => {
    const [status] = await closed;
    heading(name);
    process.stdout.write(readFileSync(file));
    rmSync(dir, { recursive: true });
    conclude(name, status === 0, started_ms);
  };
}

/** The tools start Node by `#!/usr/bin/env node`: it must be the pinned one. */
function environment(): NodeJS.ProcessEnv {
  const path = `${join(process.execPath, "..")}:${process.env["PATH"] ?? ""}`;
  return { ...process.env, PATH: path, FORCE_COLOR: process.stdout.isTTY ? "1" : "0" };
}

const tool = (name: string): string => join(ROOT, "node_modules/.bin", name);

function testOptions(files: readonly string[], concurrency: number): readonly string[] {
  // Files end by themselves: forced to, they lose what they have not reported yet. One that hangs fails after its time.
  const options = ["--test", "--test-reporter=spec", `--test-timeout=${TEST_TIMEOUT_MS}`];
  return [...options, `--test-concurrency=${concurrency}`, ...files];
}

function rootTests(): void {
  const name = "tests that need root";
  const files = globSync(ROOT_TESTS, { cwd: ROOT }).sort();
  if (process.getuid?.() === 0) return step(name, process.execPath, testOptions(files, 1));
  heading(name);
  const why = "not root: network namespaces, raw sockets and XDP programs are refused";
  console.log(`${why}. Not run:\n${files.map((file) => `  ${file}`).join("\n")}`);
  results.push({ name, outcome: "not run", detail: why });
}

function leftovers(before: ReadonlySet<string>): void {
  const name = "nothing left behind";
  heading(name);
  const left = leftoversSince(before);
  for (const trace of left) console.log(trace);
  results.push({ name, outcome: left.length === 0 ? "passed" : "FAILED", detail: `${left.length} found` });
}

function summary(started_ms: number): void {
  heading("summary");
  const width = Math.max(...results.map(({ name }) => name.length));
  for (const { name, outcome, detail } of results) {
    console.log(`${name.padEnd(width)}  ${outcome.padEnd(7)}  ${detail}`);
  }
  const failed = results.filter(({ outcome }) => outcome === "FAILED").length;
  const took = ((Date.now() - started_ms) / 1000).toFixed(0);
  console.log(`\n${failed === 0 ? "All passed" : `${failed} FAILED`} in ${took} s.`);
  process.exitCode = failed === 0 ? 0 : 1;
}

const started_ms = Date.now();
const before = traces();
step("format", tool("oxfmt"), ["--check", "."]);
step("lint", tool("oxlint"), ["--deny-warnings", "."]);
step("types", tool("tsc"), ["--noEmit", "-p", "."]);
step("types of the dashboard's page", tool("tsc"), ["--noEmit", "-p", "status/dashboard/page"]);
step("unused code", tool("knip"), ["--no-progress"]);
const unitFiles = globSync("test/**/*.test.ts", { cwd: ROOT, exclude: [ROOT_TESTS] }).sort();
const unitTests = stepAside("unit tests", process.execPath, testOptions(unitFiles, 2));
rootTests();
await unitTests();
leftovers(before);
summary(started_ms);
