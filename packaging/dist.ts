/**
 * Builds what is installed: `npm run dist -- [--arch amd64,arm64] [--version V] [--out DIR]` makes a tarball and a Debian package
 * for each architecture. The same commit gives the same bytes: times are the commit's, names are sorted, everything is root's.
 */
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative, resolve } from "node:path";
import { parseArgs } from "node:util";
import { describeError, DlbaError } from "../conf/errors.ts";
import { productVersion } from "../conf/version.ts";
import { ARCHITECTURES, type Architecture, architectureOf } from "./architectures.ts";
import { buildDeb } from "./deb.ts";
import { modulesFor } from "./modules.ts";
import { type Compression, stageProduct } from "./stage.ts";
import { buildTarball } from "./tarball.ts";

const ROOT = join(import.meta.dirname, "..");

export interface DistOptions {
  readonly architecture: Architecture;
  readonly version: string;
  readonly outDir: string;
  readonly formats: readonly ("deb" | "tarball")[];
  readonly compression: Compression;
}

/** Builds the files of one architecture; resolves with their paths. Throws DlbaError, and leaves nothing but whole files. */
export async function buildDist(options: DistOptions): Promise<string[]> {
  const { architecture, version, outDir, formats, compression } = options;
  const scratch = mkdtempSync(join(tmpdir(), "dlba-dist-"));
  try {
    const time_s = commitTime_s();
    const product = join(scratch, "product");
    const modules = await modulesFor(architecture, scratch);
    const staged = stageProduct({ architecture, version, product, modules, time_s });
    mkdirSync(outDir, { recursive: true });
    const made = formats.map((format) =>
      format === "deb"
        ? buildDeb({ ...staged, outDir, compression, scratch })
        : buildTarball({ ...staged, outDir, compression, scratch }),
    );
    return await Promise.all(made);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

/** What all files are dated: SOURCE_DATE_EPOCH (reproducible-builds.org), else the commit's time. */
function commitTime_s(): number {
  const given = process.env["SOURCE_DATE_EPOCH"];
  const text =
    given ?? execFileSync("git", ["log", "-1", "--format=%ct"], { cwd: ROOT, encoding: "utf8" }).trim();
  if (/^\d{1,12}$/.test(text)) return Number(text);
  throw new DlbaError("DIST_FAILED", `SOURCE_DATE_EPOCH is "${text}"; expected seconds since 1970`);
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      arch: { type: "string", default: ARCHITECTURES.map(({ debian }) => debian).join(",") },
      version: { type: "string", default: productVersion() },
      out: { type: "string", default: join(ROOT, "dist") },
    },
  });
  const version = values.version;
  if (!/^\d[A-Za-z0-9.+~]{0,60}$/.test(version)) {
    throw new DlbaError("DIST_FAILED", `the version "${version}" can't be one; expected such as 1.2.3`);
  }
  const builds = values.arch.split(",").map(async (name) =>
    buildDist({
      architecture: architectureOf(name),
      version,
      outDir: resolve(values.out),
      formats: ["deb", "tarball"],
      compression: "small",
    }),
  );
  for (const result of await Promise.allSettled(builds)) {
    if (result.status === "fulfilled") result.value.forEach(tell);
    else {
      process.stderr.write(`dist: ${describeError(result.reason)}\n`);
      process.exitCode = 3;
    }
  }
}

function tell(file: string): void {
  const size_mb = statSync(file).size / 1e6;
  process.stdout.write(`${relative(process.cwd(), file)} (${size_mb.toFixed(1)} MB)\n`);
}

if (import.meta.main) await main();
