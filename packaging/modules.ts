/**
 * The node modules that a package holds: those that the lock file has for production, for one architecture. Those of
 * another one than this machine's are fetched by npm, which checks them against the lock file's hashes; nothing of them is run.
 */
import { cpSync, existsSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { DlbaError } from "../conf/errors.ts";
import { isRecord, parseJson } from "../conf/record.ts";
import { tryCommand } from "../net/command.ts";
import type { Architecture } from "./architectures.ts";

const ROOT = join(import.meta.dirname, "..");

export interface Modules {
  /** The folder that has them, `…/node_modules`. */
  readonly dir: string;
  /** Paths in it, sorted: `pino`, `@koromix/koffi-linux-x64`. */
  readonly names: readonly string[];
}

/** Throws DlbaError DIST_FAILED when they can't be had. */
export async function modulesFor(architecture: Architecture, scratch: string): Promise<Modules> {
  const isOwn = architecture.node === process.arch;
  const dir = isOwn ? join(ROOT, "node_modules") : await fetchModules(architecture, scratch);
  const names = productionModules().filter((name) => existsSync(join(dir, name)));
  const binary = join(dir, `node-linux-${architecture.node}/bin/node`);
  const native = join(dir, `@koromix/koffi-linux-${architecture.node}`);
  for (const path of [binary, native]) {
    if (!existsSync(path)) throw new DlbaError("DIST_FAILED", `npm has not installed ${path}`);
  }
  return { dir, names };
}

/** All packages of the lock file that are no development tools, for whatever system. */
function productionModules(): string[] {
  const lock = parseJson(readFileSync(join(ROOT, "package-lock.json"), "utf8"));
  const packages = isRecord(lock) && isRecord(lock["packages"]) ? lock["packages"] : {};
  return Object.entries(packages)
    .filter(([path, about]) => path !== "" && isRecord(about) && about["dev"] !== true)
    .map(([path]) => path.replace(/^node_modules\//, ""))
    .sort();
}

async function fetchModules({ node, debian }: Architecture, scratch: string): Promise<string> {
  const folder = join(scratch, "fetched");
  for (const name of ["package.json", "package-lock.json"]) cpSync(join(ROOT, name), join(folder, name));
  const quiet = ["--no-save", "--no-audit", "--no-fund", "--loglevel=error"];
  const what = ["--omit=dev", "--ignore-scripts", `--cpu=${node}`, "--os=linux", "--libc=glibc"];
  const run = await tryCommand("npm", ["install", "--prefix", folder, ...quiet, ...what]);
  if (run.code !== 0) {
    throw new DlbaError("DIST_FAILED", `npm could not fetch what ${debian} needs: ${run.stderr.trim()}`);
  }
  rmSync(join(folder, "node_modules/.package-lock.json"), { force: true });
  return join(folder, "node_modules");
}
