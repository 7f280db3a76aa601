/** The Debian package: the product in /usr/lib/dlba, and everything else where Debian has it. Built without debhelper. */
import { createHash } from "node:crypto";
import {
  cpSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { dirname, join, relative } from "node:path";
import { gzipSync } from "node:zlib";
import { command } from "../net/command.ts";
import { type Compression, settle, type Staged } from "./stage.ts";

const SCRIPTS = join(import.meta.dirname, "debian");

export interface DebOptions extends Staged {
  readonly outDir: string;
  readonly scratch: string;
  readonly compression: Compression;
}

/** What of `share/` goes where. */
const PLACES: readonly (readonly [string, string])[] = [
  ["completions/dlba.bash", "usr/share/bash-completion/completions/dlba"],
  ["completions/dlba.zsh", "usr/share/zsh/vendor-completions/_dlba"],
  ["completions/dlba.fish", "usr/share/fish/vendor_completions.d/dlba.fish"],
  ["doc/README.md", "usr/share/doc/dlba/README.md"],
  ["doc/docs", "usr/share/doc/dlba/docs"],
  ["doc/examples", "usr/share/doc/dlba/examples"],
  ["copyright", "usr/share/doc/dlba/copyright"],
  ["dlba.schema.json", "usr/share/dlba/dlba.schema.json"],
  ["system/dlba.service", "usr/lib/systemd/system/dlba.service"],
  ["system/sysctl.conf", "usr/lib/sysctl.d/60-dlba.conf"],
  ["system/logrotate.conf", "etc/logrotate.d/dlba"],
  ["system/default", "etc/default/dlba"],
];
/** What an operator may change, and an upgrade must not. */
const CONFFILES = PLACES.map(([, to]) => to).filter((to) => to.startsWith("etc/"));

const MAINTAINER = "DLBA developers <developers@dlba.invalid>";

/** Resolves with its path. Throws DlbaError COMMAND_FAILED or PROGRAM_MISSING. */
export async function buildDeb(options: DebOptions): Promise<string> {
  const { architecture, version, time_s, product, share, outDir, scratch, compression } = options;
  const tree = join(scratch, "deb");
  cpSync(product, join(tree, "usr/lib/dlba"), { recursive: true });
  for (const [from, to] of PLACES) place(join(share, from), join(tree, to));
  writeGzip(join(tree, "usr/share/man/man8/dlba.8.gz"), readFileSync(join(share, "man/dlba.8")));
  writeGzip(join(tree, "usr/share/doc/dlba/NEWS.gz"), readFileSync(join(share, "doc/CHANGELOG.md")));
  writeGzip(join(tree, "usr/share/doc/dlba/changelog.gz"), Buffer.from(debianChangelog(version, time_s)));
  place(join(SCRIPTS, "lintian-overrides"), join(tree, "usr/share/lintian/overrides/dlba"));
  mkdirSync(join(tree, "usr/bin"), { recursive: true });
  symlinkSync("../lib/dlba/bin/dlba", join(tree, "usr/bin/dlba"));
  mkdirSync(join(tree, "etc/dlba"), { recursive: true });
  writeControl(tree, version, architecture.debian);
  settle(tree, time_s);
  const file = join(outDir, `dlba_${version}_${architecture.debian}.deb`);
  const how = compression === "quick" ? ["-Znone"] : ["-Zzstd", "-z12", "--no-uniform-compression"];
  await command("env", [
    `SOURCE_DATE_EPOCH=${time_s}`,
    "dpkg-deb",
    "--build",
    "--root-owner-group",
    ...how,
    tree,
    `${file}.part`,
  ]);
  renameSync(`${file}.part`, file);
  return file;
}

function place(from: string, to: string): void {
  mkdirSync(dirname(to), { recursive: true });
  cpSync(from, to, { recursive: true });
}

function writeGzip(path: string, bytes: Buffer): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, gzipSync(bytes, { level: 9 }));
}

/** Debian's own form, as its tools read it; what is new stands in NEWS. */
function debianChangelog(version: string, time_s: number): string {
  const date = new Date(time_s * 1000).toUTCString().replace("GMT", "+0000");
  const lines = [`dlba (${version}) unstable; urgency=medium`, "", "  * What is new is in NEWS.gz.", ""];
  return `${lines.join("\n")}\n -- ${MAINTAINER}  ${date}\n`;
}

function writeControl(tree: string, version: string, architecture: string): void {
  const files = readdirSync(tree, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
  const control = join(tree, "DEBIAN");
  mkdirSync(control);
  const size_kib = files.reduce((sum, file) => sum + Math.ceil(statSync(file).size / 1024), 0);
  const text = readFileSync(join(SCRIPTS, "control.in"), "utf8")
    .replace("@VERSION@", version)
    .replace("@ARCHITECTURE@", architecture)
    .replace("@MAINTAINER@", MAINTAINER)
    .replace("@SIZE@", String(size_kib));
  writeFileSync(join(control, "control"), text);
  writeFileSync(join(control, "conffiles"), CONFFILES.map((path) => `/${path}\n`).join(""));
  writeFileSync(join(control, "md5sums"), files.map((file) => md5Line(tree, file)).join(""));
  for (const name of ["postinst", "prerm", "postrm"]) cpSync(join(SCRIPTS, name), join(control, name));
}

/** Debian's own check (`dpkg --verify`) goes by it; signatures of repositories don't. */
function md5Line(tree: string, file: string): string {
  const sum = createHash("md5").update(readFileSync(file)).digest("hex");
  return `${sum}  ${relative(tree, file)}\n`;
}
