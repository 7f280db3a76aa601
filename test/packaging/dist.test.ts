/** What `npm run dist` builds: everything that a node runs from, nothing that it doesn't, and twice the same. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { after, before, describe, test } from "node:test";
import { architectureOf, ownArchitecture } from "../../packaging/architectures.ts";
import { buildDist } from "../../packaging/dist.ts";

const DIR = mkdtempSync(join(tmpdir(), "dlba-dist-test-"));
const EXAMPLE = join(import.meta.dirname, "../../conf/examples/minimal.yaml");
const run = (program: string, ...args: string[]): string =>
  execFileSync(program, args, { encoding: "utf8", maxBuffer: 1e8 });
const sumOf = (file: string): string => createHash("sha256").update(readFileSync(file)).digest("hex");

async function build(name: string, formats: readonly ("deb" | "tarball")[]): Promise<string[]> {
  return buildDist({
    architecture: ownArchitecture(),
    version: "9.8.7~test",
    outDir: join(DIR, name),
    formats,
    compression: "quick",
  });
}

after(() => rmSync(DIR, { recursive: true, force: true }));

describe("the Debian package", () => {
  let deb = "";
  let files: string[] = [];
  before(async () => {
    [deb = ""] = await build("first", ["deb"]);
    files = run("dpkg-deb", "-c", deb)
      .trim()
      .split("\n")
      .map((line) =>
        line
          .split(/\s+/)
          .slice(0, 2)
          .concat(line.replace(/^.*? \.\//, ""))
          .join(" "),
      );
  });
  const paths = (): string[] => files.map((line) => line.split(" ")[2] ?? "");
  const has = (path: string): boolean => paths().some((each) => each === path || each.startsWith(`${path} `));

  test("holds the pinned runtime, the program for the kernel, and where Debian looks for it man page, completions, units and examples", () => {
    assert.equal(basename(deb), `dlba_9.8.7~test_${ownArchitecture().debian}.deb`);
    const missing = [
      `usr/lib/dlba/node_modules/node-linux-${process.arch}/bin/node`,
      "usr/lib/dlba/status/dashboard/page/index.html",
      "usr/lib/dlba/node_modules/uplot/dist/uPlot.min.css",
      `usr/lib/dlba/node_modules/@koromix/koffi-linux-${process.arch}/linux_${process.arch}/koffi.node`,
      "usr/lib/dlba/scheduler/bpf/scheduler.bpf.o",
      "usr/lib/dlba/cli/main.ts",
      "usr/bin/dlba",
      "usr/lib/systemd/system/dlba.service",
      "usr/lib/sysctl.d/60-dlba.conf",
      "usr/share/man/man8/dlba.8.gz",
      "usr/share/bash-completion/completions/dlba",
      "usr/share/zsh/vendor-completions/_dlba",
      "usr/share/fish/vendor_completions.d/dlba.fish",
      "usr/share/doc/dlba/examples/minimal.yaml",
      "usr/share/doc/dlba/docs/operating.md",
      "usr/share/doc/dlba/copyright",
      "usr/share/dlba/dlba.schema.json",
      "etc/logrotate.d/dlba",
      "etc/default/dlba",
      "etc/dlba/",
    ].filter((path) => !has(path));
    assert.deepEqual(missing, []);
  });

  test("holds no development tool, no test and nothing of another architecture; all belongs to root", () => {
    const manifest: { devDependencies: Record<string, string> } = JSON.parse(
      readFileSync(join(import.meta.dirname, "../../package.json"), "utf8"),
    );
    const unwanted = Object.keys(manifest.devDependencies).map(
      (name) => `usr/lib/dlba/node_modules/${name}/`,
    );
    unwanted.push("usr/lib/dlba/test/", "usr/lib/dlba/packaging/", "usr/lib/dlba/setup.mjs");
    assert.deepEqual(unwanted.filter(has), []);
    assert.deepEqual(
      paths().filter((path) => /musl|\.test\.|\.d\.ts|node_modules\/\.bin/.test(path)),
      [],
    );
    assert.deepEqual(
      files.filter((line) => !line.includes(" root/root ")),
      [],
    );
  });

  test("its programs run where they are unpacked, and know their version", () => {
    run("dpkg-deb", "-x", deb, join(DIR, "root"));
    const dlba = join(DIR, "root/usr/bin/dlba");
    assert.equal(run(dlba, "--version").trim(), "9.8.7~test");
    assert.match(run(dlba, "check", EXAMPLE), /2 nodes/);
    const sums = join(DIR, "sums");
    writeFileSync(sums, run("dpkg-deb", "-I", deb, "md5sums"));
    execFileSync("md5sum", ["-c", "--quiet", sums], { cwd: join(DIR, "root") });
  });

  test("is the same when it is built again", async () => {
    const [again = ""] = await build("second", ["deb"]);
    assert.equal(sumOf(again), sumOf(deb));
  });
});

test("the tarball runs wherever it is unpacked, and brings what goes to the system's places", async () => {
  const [tarball = ""] = await build("third", ["tarball"]);
  run("tar", "-xf", tarball, "-C", DIR);
  const tree = join(DIR, `dlba-9.8.7~test-linux-${process.arch}`);
  assert.match(run(join(tree, "bin/dlba"), "check", EXAMPLE), /2 nodes/);
  assert.match(readFileSync(join(tree, "share/man/dlba.8"), "utf8"), /dlba 9\.8\.7/);
  assert.match(readFileSync(join(tree, "share/system/dlba.service"), "utf8"), /ExecStart=/);
});

test("a machine that no package is built for is refused by name", () => {
  assert.throws(() => architectureOf("riscv64"), /"riscv64", only for amd64 and arm64/);
});
