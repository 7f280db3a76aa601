/**
 * npm run h2spec: builds h2spec with Debian's Go and its packaged libraries, runs all of its cases against a worker, over TLS
 * and plain, and fails unless all pass.
 *
 *   -- --source DIR   its source; else it is taken from GitHub
 */
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { describeError, DlbaError, isOperatingError } from "../../conf/errors.ts";
import { startRig, webServer } from "../dlba-server/engine/rig.ts";

const { values } = parseArgs({ options: { source: { type: "string" } } });
const REPOSITORY = "https://github.com/summerwind/h2spec";
/** What this was tried with: the last one there is. */
const COMMIT = "af83a65f0b6273ef38bf778d400d98892e7653d8";
const PACKAGED_LIBRARIES = "/usr/share/gocode";
/**
 * A plain port speaks HTTP/1.1, too: what does not begin with the preface is answered in that, which h2spec takes for a
 * broken frame.
 */
const NOT_ON_PLAIN_PORTS = "2: Sends invalid connection preface";

function fetchSource(to: string): void {
  if (values.source !== undefined) {
    cpSync(resolve(values.source), to, { recursive: true });
    return;
  }
  console.log(`h2spec: taking ${REPOSITORY}`);
  try {
    execFileSync("git", ["clone", "--quiet", REPOSITORY, to], { stdio: "inherit" });
    execFileSync("git", ["-C", to, "checkout", "--quiet", COMMIT], { stdio: "inherit" });
  } catch {
    const hint = "where GitHub can't be reached, name a copy of it: npm run h2spec -- --source DIR";
    throw new DlbaError("H2SPEC_SOURCE", "h2spec's source can't be had", { hint });
  }
}

/** Packaged libraries are found by their place, not by versions: that is Go's older way. */
function build(dir: string): string {
  const source = join(dir, "src/github.com/summerwind/h2spec");
  mkdirSync(source, { recursive: true });
  fetchSource(source);
  const program = join(dir, "h2spec");
  const places = { GOPATH: `${dir}:${PACKAGED_LIBRARIES}`, GOCACHE: join(dir, "cache") };
  const env = { ...process.env, ...places, GO111MODULE: "off", GOFLAGS: "" };
  console.log("h2spec: building");
  execFileSync("go", ["build", "-o", program, "./cmd/h2spec"], { cwd: source, env, stdio: "inherit" });
  return program;
}

interface Outcome {
  readonly cases: number;
  readonly passed: number;
  readonly failed: readonly string[];
}

async function runAgainst(program: string, args: readonly string[]): Promise<Outcome> {
  const child = spawn(program, ["-h", "127.0.0.1", "--strict", "-o", "5", ...args], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let text = "";
  child.stdout.on("data", (data) => (text += String(data)));
  await once(child, "close");
  const [, cases, passed] = /(\d+) tests, (\d+) passed/.exec(text)?.map(Number) ?? [];
  if (cases === undefined || passed === undefined) throw new Error(`h2spec said nothing of use:\n${text}`);
  const failed = [...text.matchAll(/× (\d+: [^\n]*)/g)].map(([, name = ""]) => name.trim());
  if (passed < cases) console.log(text.slice(text.indexOf("Failures:")));
  return { cases, passed, failed: [...new Set(failed)] };
}

async function main(): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), "dlba-h2spec-"));
  const web = await webServer((message, response) => {
    message.resume();
    message.on("end", () => response.end("what h2spec asks for"));
    message.on("error", () => undefined);
  });
  try {
    const program = build(dir);
    const rig = await startRig({ serverPorts: [web.port] });
    const tls = await runAgainst(program, ["-t", "-k", "-p", String(rig.httpsPort)]);
    const plain = await runAgainst(program, ["-p", String(rig.httpPort)]);
    await rig.stop();
    const plainFaults = plain.failed.filter((name) => name !== NOT_ON_PLAIN_PORTS);
    console.log(`h2spec over TLS: ${tls.passed} of ${tls.cases}`);
    console.log(`h2spec plain: ${plain.passed} of ${plain.cases}`);
    if (plain.passed < plain.cases && plainFaults.length === 0) {
      console.log(`  not held against a port that speaks HTTP/1.1, too: ${NOT_ON_PLAIN_PORTS}`);
    }
    const isGood = tls.passed === tls.cases && plainFaults.length === 0 && plain.cases - plain.passed <= 1;
    process.exitCode = isGood ? 0 : 1;
  } finally {
    web.server.close();
    rmSync(dir, { recursive: true, force: true });
  }
}

await main().catch((error: unknown) => {
  if (!isOperatingError(error)) throw error;
  console.error(`h2spec: ${describeError(error)}`);
  process.exitCode = 3;
});
