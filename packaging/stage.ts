/** Lays out what is installed: the product's own tree, and beside it what goes to the system's places. */
import { execFileSync } from "node:child_process";
import { chmodSync, cpSync, lutimesSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { SHELLS } from "../cli/reference/completion.ts";
import { isRecord, parseJson } from "../conf/record.ts";
import type { Architecture } from "./architectures.ts";
import { copyrightText } from "./copyright.ts";
import type { Modules } from "./modules.ts";

const ROOT = join(import.meta.dirname, "..");
/** The folders that a node runs from; tests and what builds packages stay out. */
const FOLDERS = ["bin", "cli", "conf", "dlba-server", "failover", "lab", "net", "scheduler", "status"];

export interface StageOptions {
  readonly architecture: Architecture;
  readonly version: string;
  /** A folder that is not there yet. */
  readonly product: string;
  readonly modules: Modules;
  readonly time_s: number;
}

export interface Staged {
  readonly architecture: Architecture;
  readonly version: string;
  readonly time_s: number;
  /** The tree that runs wherever it lies: `bin/dlba`, sources, node_modules. */
  readonly product: string;
  /** Man page, completions, documents, units and settings; `share/` of the tarball. */
  readonly share: string;
}

/** `quick` is for tests. */
export type Compression = "small" | "quick";

/** Throws when a file can't be copied. */
export function stageProduct({ architecture, version, product, modules, time_s }: StageOptions): Staged {
  for (const file of sources()) copy(join(ROOT, file), join(product, file));
  copy(join(ROOT, "LICENSE"), join(product, "LICENSE"));
  writeFileSync(join(product, "package.json"), manifest(version));
  for (const name of modules.names) copyModule(join(modules.dir, name), join(product, "node_modules", name));
  const share = join(dirname(product), "share");
  writeShare(share, version, modules);
  for (const tree of [product, share]) settle(tree, time_s);
  return { architecture, version, time_s, product, share };
}

/** Committed files, and new ones that are not ignored. */
function sources(): string[] {
  const args = ["ls-files", "--cached", "--others", "--exclude-standard", "--", ...FOLDERS];
  const files = execFileSync("git", args, { cwd: ROOT, encoding: "utf8" }).trim().split("\n");
  return files.filter((file) => isRunNeeded(file)).sort();
}

/** The XDP program goes along as the object that is loaded, and as the source that the licence asks for. */
const isRunNeeded = (file: string): boolean =>
  !/\.(?:md|d\.ts)$/.test(file) && !file.startsWith("conf/examples/");

/** Without what only development needs. Which Node binary is the right one stands in it, too (net/runtime.ts). */
function manifest(version: string): string {
  const own = parseJson(readFileSync(join(ROOT, "package.json"), "utf8"));
  const { scripts: _scripts, devDependencies: _tools, bin: _bin, ...rest } = isRecord(own) ? own : {};
  return `${JSON.stringify({ ...rest, version }, null, 2)}\n`;
}

/** What of a module is run, and its licence; the rest is for building it, testing it or reading. */
const RUN = /\.(?:js|cjs|mjs|json|node|css)$|\/bin\/node$|\/licen[cs]e[^/]*$/i;
const NOT_RUN =
  /^\/(?:include|share|vendor|docs?|tests?|examples|scripts|benchmarks?)\/|^\/(?:test|bench|eslint)[^/]*\.js$/;
/** Built for another C library. */
const FOREIGN = /^\/musl_/;

function copyModule(from: string, to: string): void {
  const paths = readdirSync(from, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  for (const entry of paths) {
    const path = join(entry.parentPath, entry.name);
    const inside = path.slice(from.length);
    if (RUN.test(inside) && !NOT_RUN.test(inside) && !FOREIGN.test(inside)) copy(path, join(to, inside));
  }
}

function copy(from: string, to: string): void {
  mkdirSync(dirname(to), { recursive: true });
  cpSync(from, to);
}

function writeShare(share: string, version: string, modules: Modules): void {
  const write = (path: string, text: string): void => {
    mkdirSync(dirname(join(share, path)), { recursive: true });
    writeFileSync(join(share, path), text);
  };
  write("man/dlba.8", dlba("man").replaceAll(ownVersion(), version));
  for (const shell of SHELLS) write(`completions/dlba.${shell}`, dlba("completion", shell));
  for (const folder of ["docs", "conf/examples"]) {
    cpSync(join(ROOT, folder), join(share, "doc", basename(folder)), { recursive: true });
  }
  for (const name of ["README.md", "CHANGELOG.md"]) copy(join(ROOT, name), join(share, "doc", name));
  copy(join(ROOT, "conf/dlba.schema.json"), join(share, "dlba.schema.json"));
  cpSync(join(import.meta.dirname, "system"), join(share, "system"), { recursive: true });
  write("copyright", copyrightText(modules));
}

function dlba(...args: string[]): string {
  return execFileSync(join(ROOT, "bin/dlba"), args, { encoding: "utf8" });
}

const ownVersion = (): string => dlba("--version").trim();

/** One date and plain modes for everything, whatever the builder's own umask. */
export function settle(tree: string, time_s: number): void {
  for (const entry of readdirSync(tree, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    if (!entry.isSymbolicLink()) chmodSync(path, modeOf(path, entry.isDirectory()));
    lutimesSync(path, time_s, time_s);
  }
  chmodSync(tree, 0o755);
  lutimesSync(tree, time_s, time_s);
}

function modeOf(path: string, isDirectory: boolean): number {
  if (isDirectory) return 0o755;
  const isProgram = /\/bin\/(?:dlba|node)$|\/DEBIAN\/(?:post|pre)(?:inst|rm)$/.test(path);
  return isProgram ? 0o755 : 0o644;
}
