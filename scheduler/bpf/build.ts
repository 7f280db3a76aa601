/**
 * Compiles the XDP program to the committed object, and writes layout.ts out of the object's type information,
 * so that both sides of the shared maps come from one source. Run by `npm run build:bpf`; a test compiles again
 * and compares. The build is reproducible: no paths and no debug sections stay in the object.
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { DlbaError } from "../../conf/errors.ts";
import { layoutSource } from "./layout-source.ts";

const HERE = import.meta.dirname;
export const OBJECT_FILE = join(HERE, "scheduler.bpf.o");
export const LAYOUT_FILE = join(HERE, "..", "layout.ts");
export const SOURCE_FILE = join(HERE, "scheduler.bpf.c");

/** Debian keeps the kernel's per-architecture headers in a directory that a BPF target does not search. */
const HEADERS = { x64: "/usr/include/x86_64-linux-gnu", arm64: "/usr/include/aarch64-linux-gnu" };

/** Compiles one BPF source (relative names in its own folder). Throws DlbaError BPF_BUILD_FAILED. */
export function compileBpf(source: string, object: string, defines: readonly string[] = []): void {
  const headers = process.arch === "arm64" ? HEADERS.arm64 : HEADERS.x64;
  const folder = dirname(source);
  const flags = ["-O2", "-g", "-target", "bpf", "-mcpu=v3", "-Wall", "-Wextra", "-Werror", `-I${headers}`];
  const clang = [...flags, `-ffile-prefix-map=${folder}=.`, ...defines.map((name) => `-D${name}`)];
  run("clang", [...clang, "-c", source, "-o", object], folder);
  // Strips DWARF only: the type information that the kernel and libbpf read stays.
  run("llvm-strip", ["-g", object], folder);
}

/** The text of layout.ts for an object. */
export function layoutOf(object: string): string {
  return layoutSource(run("bpftool", ["-j", "btf", "dump", "file", object], HERE));
}

function run(command: string, args: readonly string[], cwd: string): string {
  try {
    return execFileSync(command, args, { cwd, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
  } catch (cause) {
    throw new DlbaError("BPF_BUILD_FAILED", `${command} failed`, {
      cause,
      hint: "it needs the Debian packages clang, llvm, libbpf-dev and bpftool",
    });
  }
}

function build(): void {
  const folder = mkdtempSync(join(tmpdir(), "dlba-bpf-"));
  try {
    const object = join(folder, "scheduler.bpf.o");
    compileBpf(SOURCE_FILE, object);
    writeFileSync(LAYOUT_FILE, layoutOf(object));
    writeFileSync(OBJECT_FILE, readFileSync(object));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

if (import.meta.main) build();
