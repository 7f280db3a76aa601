#!/usr/bin/env node
/**
 * Makes a fresh clone ready and runs an entry of the project: `node setup.mjs ENTRY.ts [args…]`.
 *
 * Any Node from 20 on runs this file, and it needs no modules. It installs the Debian packages and the node
 * modules that are missing, then runs the entry with the pinned Node binary out of node_modules.
 */
import { spawn, spawnSync } from "node:child_process";
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = dirname(fileURLToPath(import.meta.url));
const POLICY_FILE = "/usr/sbin/policy-rc.d";

const BUILD_PACKAGES = ["clang", "llvm", "libbpf-dev", "bpftool"];
const LAB_PACKAGES = ["libbpf1", "iproute2", "nftables", "nginx-light", "curl", "wrk", "openssl"];
/** For tests of what is installed: a systemd, and what the Debian package recommends. */
const MACHINE_PACKAGES = ["systemd", "adduser", "ethtool", "logrotate"];
const TEST_PACKAGES = [
  "haproxy",
  "libfaketime",
  ...MACHINE_PACKAGES,
  "nghttp2-client",
  "procps",
  "hatop",
  "bsdutils",
  "chromium",
];
const GO_LIBRARIES = [
  "golang-golang-x-net-dev",
  "golang-github-spf13-cobra-dev",
  "golang-github-fatih-color-dev",
];
/** Debian packages that an entry needs, by the start of its path. */
const PACKAGES_BY_ENTRY = [
  ["conf/", []],
  ["packaging/", ["dpkg", "git"]],
  ["scheduler/bpf/", BUILD_PACKAGES],
  ["lab/", LAB_PACKAGES],
  ["test/bench/", [...LAB_PACKAGES, ...BUILD_PACKAGES, "haproxy", "keepalived", "nghttp2-client"]],
  ["test/sim/", []],
  ["test/chaos/", [...LAB_PACKAGES, "stress-ng"]],
  ["test/h2spec/", ["git", "openssl", "golang-go", ...GO_LIBRARIES]],
  ["test/", [...LAB_PACKAGES, ...BUILD_PACKAGES, ...TEST_PACKAGES]],
];
/** Packages whose system service would take port 80 at the next start of the machine. */
const SERVICES = { "nginx-light": "nginx", haproxy: "haproxy", keepalived: "keepalived" };

const [entry, ...args] = process.argv.slice(2);
const say = (text) => (args.includes("--json") ? process.stderr : process.stdout).write(`set-up: ${text}\n`);
const seconds = (since_ms) => `${((Date.now() - since_ms) / 1000).toFixed(1)} s`;

/**
 * Signals that come while something is being installed are handled after it (all of that is synchronous), so
 * nothing is left half done: they then end the entry.
 */
let child;
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => child?.kill(signal));

if (entry === undefined) fail("usage: node setup.mjs ENTRY.ts [arguments]");
checkPlatform();
installPackages(PACKAGES_BY_ENTRY.find(([start]) => entry.startsWith(start))?.[1] ?? []);
installModules();
runEntry();

function fail(text) {
  process.stderr.write(`set-up: ${text}\n`);
  process.exit(3);
}

function checkPlatform() {
  if (process.platform !== "linux") fail(`Linux is needed, this is ${process.platform}.`);
  if (process.arch !== "x64" && process.arch !== "arm64") {
    fail(`a machine with x86_64 or aarch64 is needed, this is ${process.arch}.`);
  }
  if (Number(process.versions.node.split(".")[0]) < 20) {
    fail(`Node 20 or newer is needed for the set-up, this is ${process.version}.`);
  }
}

function installPackages(wanted) {
  if (wanted.length === 0) return;
  const missing = missingPackages(wanted);
  if (missing === undefined) {
    say(`this is no Debian, so nothing was installed; what is needed: ${wanted.join(" ")}`);
    return;
  }
  if (missing.length === 0) return;
  if (process.getuid?.() !== 0) {
    say(`not root, so these Debian packages can't be installed: ${missing.join(" ")}`);
    say(`what needs them won't work; install them with: sudo apt-get install ${missing.join(" ")}`);
    return;
  }
  const started_ms = Date.now();
  say(`installing Debian packages: ${missing.join(" ")}`);
  withoutServiceStart(() => {
    apt("update", "-qq");
    apt("install", "-qq", "-y", "--no-install-recommends", ...missing);
  });
  disableServices(missing);
  const failed = missingPackages(missing) ?? missing;
  if (failed.length > 0) say(`could not install ${failed.join(" ")}: what needs them won't work`);
  else say(`packages installed in ${seconds(started_ms)}`);
}

/** The packages of the list that are not installed; undefined where there is no dpkg. */
function missingPackages(wanted) {
  const query = spawnSync("dpkg-query", ["-W", "-f=${Package} ${db:Status-Status}\n", ...wanted], {
    encoding: "utf8",
  });
  if (query.error !== undefined) return undefined;
  const lines = new Set(query.stdout.split("\n"));
  return wanted.filter((name) => !lines.has(`${name} installed`));
}

function apt(...command) {
  const run = spawnSync("apt-get", command, {
    encoding: "utf8",
    env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" },
  });
  if (run.status !== 0) {
    say(`apt-get ${command.join(" ")} failed:\n${(run.stderr || String(run.error)).trimEnd()}`);
  }
}

/** Debian starts a service when its package is installed; nginx would take port 80. policy-rc.d forbids it. */
function withoutServiceStart(install) {
  const isOurs = !existsSync(POLICY_FILE);
  if (isOurs) writeFileSync(POLICY_FILE, "#!/bin/sh\nexit 101\n", { mode: 0o755 });
  try {
    install();
  } finally {
    if (isOurs) rmSync(POLICY_FILE, { force: true });
  }
}

function disableServices(installed) {
  for (const name of installed.filter((name) => name in SERVICES)) {
    spawnSync("update-rc.d", [SERVICES[name], "disable"]);
    say(`the system service ${SERVICES[name]} that came with ${name} is neither started nor enabled`);
  }
}

/**
 * `npm ci` would refuse the lock file on registries that lack a tool's builds for systems that we don't run on.
 * So `npm install`, which takes the versions and hashes that the lock file names; then it is checked that it did.
 */
function installModules() {
  if (areModulesInStep()) return;
  const started_ms = Date.now();
  say("installing node modules (npm install, as package-lock.json says)");
  const run = spawnSync("npm", ["install", "--no-save", "--no-audit", "--no-fund", "--loglevel=error"], {
    cwd: ROOT,
    stdio: ["ignore", 2, 2],
  });
  if (run.status !== 0) fail("npm install failed; see above.");
  if (!areModulesInStep()) {
    fail("node_modules is not what package-lock.json says; remove node_modules and try again.");
  }
  say(`node modules installed in ${seconds(started_ms)}`);
}

/** Whether what npm has put into node_modules is what the lock file says, for this machine. */
function areModulesInStep() {
  const wanted = lockedPackages(join(ROOT, "package-lock.json"));
  const installed = lockedPackages(join(ROOT, "node_modules/.package-lock.json"));
  if (!existsSync(pinnedNode())) return false;
  return (
    Object.keys(installed).every((path) => path in wanted) &&
    Object.entries(wanted).every(([path, { integrity, optional }]) =>
      path in installed ? installed[path].integrity === integrity : optional === true,
    )
  );
}

function lockedPackages(path) {
  if (!existsSync(path)) return {};
  const { "": _self, ...packages } = JSON.parse(readFileSync(path, "utf8")).packages;
  return packages;
}

function pinnedNode() {
  return join(ROOT, `node_modules/node-linux-${process.arch}/bin/node`);
}

function runEntry() {
  child = spawn(pinnedNode(), [join(ROOT, entry), ...args], { stdio: "inherit" });
  child.on("error", (error) => fail(`the pinned Node binary can't be run: ${error.message}`));
  child.on("exit", (code, signal) => {
    if (signal === null) process.exit(code);
    process.removeAllListeners(signal);
    process.kill(process.pid, signal);
  });
}
