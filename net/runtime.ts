/**
 * Is this the Node binary that was tested? The proxy calls the OpenSSL and the libuv inside it by name, so
 * another version, or a build that hides its symbols, must be told at the start and not by a crash later.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { DlbaError } from "../conf/errors.ts";
import { bind, ownBinary } from "./ffi.ts";

/** One of each group of symbols that the engine needs. */
const NEEDED_SYMBOLS = [
  "SSL_new",
  "SSL_CTX_callback_ctrl",
  "SSL_set_SSL_CTX",
  "uv_default_loop",
  "uv_backend_fd",
];

export interface RuntimeFacts {
  readonly version: string;
  readonly pinnedVersion: string;
  readonly platform: string;
  readonly arch: string;
  readonly missingSymbols: readonly string[];
}

function runtimeFacts(): RuntimeFacts {
  const manifest: { optionalDependencies: Record<string, string> } = JSON.parse(
    readFileSync(join(import.meta.dirname, "../package.json"), "utf8"),
  );
  return {
    version: process.versions.node,
    pinnedVersion: manifest.optionalDependencies[`node-linux-${process.arch}`] ?? "",
    platform: process.platform,
    arch: process.arch,
    missingSymbols: NEEDED_SYMBOLS.filter((symbol) => !isExported(symbol)),
  };
}

function isExported(symbol: string): boolean {
  try {
    bind(ownBinary(), `void ${symbol}()`);
    return true;
  } catch {
    return false;
  }
}

/** What is wrong with a Node binary, as the error to throw; undefined when nothing is. */
export function runtimeProblem(facts: RuntimeFacts): DlbaError | undefined {
  if (facts.platform !== "linux" || facts.pinnedVersion === "") {
    return new DlbaError("PLATFORM_UNSUPPORTED", `${facts.platform} on ${facts.arch} is not supported`, {
      hint: "DLBA runs on Linux, x64 and arm64",
    });
  }
  const hint =
    "start it with bin/dlba, which takes the pinned binary out of node_modules (npm install puts it there)";
  if (facts.version !== facts.pinnedVersion) {
    const is = `this is Node ${facts.version}, DLBA was tested with ${facts.pinnedVersion} and needs just that`;
    return new DlbaError("RUNTIME_WRONG_VERSION", is, { hint });
  }
  if (facts.missingSymbols.length === 0) return undefined;
  const lacks = `this Node ${facts.version} is a foreign build: it lacks ${facts.missingSymbols.join(", ")}`;
  return new DlbaError("RUNTIME_FOREIGN", lacks, { hint });
}

/** Throws the DlbaError that says what is wrong with the running Node binary, if anything is. */
export function checkRuntime(): void {
  const problem = runtimeProblem(runtimeFacts());
  if (problem !== undefined) throw problem;
}
