/** `dlba doctor` on the machine that the test runs on, whatever that is. */
import assert from "node:assert/strict";
import { execFile, execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { isRecord } from "../../../conf/record.ts";

const ROOT = join(import.meta.dirname, "../../..");
const directory = mkdtempSync(join(tmpdir(), "dlba-doctor-"));
after(() => rmSync(directory, { recursive: true }));

const at = (name: string): string => join(directory, name);

function doctor(...args: string[]): Promise<{ code: number | null; stdout: string; stderr: string }> {
  return new Promise((resolve) => {
    const argv = ["doctor", "--run-dir", directory, ...args];
    const child = execFile(join(ROOT, "bin/dlba"), argv, { timeout: 60_000 }, (_error, stdout, stderr) =>
      resolve({ code: child.exitCode, stdout, stderr }),
    );
  });
}

function codesOf(json: string): unknown[] {
  const report: unknown = JSON.parse(json);
  assert.ok(isRecord(report) && Array.isArray(report["findings"]));
  return report["findings"].map((each: unknown) => (isRecord(each) ? each["code"] : undefined));
}

test("a machine is judged alone", async () => {
  const { code, stdout, stderr } = await doctor();
  assert.ok(code === 0 || code === 1, stderr);
  assert.match(stdout, /^this machine: \d+ errors?, \d+ warnings?, \d+ notes?\n$/m);
});

test("and as a node: what is wrong with its files, addresses and the way to others is found", async () => {
  writeFileSync(at("array.key"), randomBytes(32).toString("base64"), { mode: 0o644 });
  const subject = ["-subj", "/CN=localhost", "-days", "2", "-nodes"];
  const curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"];
  for (const name of ["one", "two"]) {
    const files = ["-keyout", at(`${name}.key`), "-out", at(`${name}.pem`)];
    execFileSync("openssl", ["req", "-x509", ...curve, ...subject, ...files], { stdio: "ignore" });
  }
  writeFileSync(
    at("array.yaml"),
    `array: {name: test, key_file: ${at("array.key")}}
nodes: [{number: 7, name: seven, address: 192.0.2.11, interface: none0}]
vservers:
  - name: web
    vips: [192.0.2.10]
    ports: [443]
    protocol: https
    pool: p
    certificates:
      - {certificate: ${at("one.pem")}, key: ${at("two.key")}}
      - {certificate: ${at("none.pem")}, key: ${at("one.key")}}
pools: [{name: p, servers: [{id: w, address: 127.0.0.1, port: 1}]}]
`,
  );
  const { code, stdout } = await doctor("--config", at("array.yaml"), "--node", "seven", "--json");
  assert.equal(code, 1);
  const codes = codesOf(stdout);
  const expected = ["INTERFACE_MISSING", "CERTIFICATE", "CERTIFICATE_KEY", "CERTIFICATE_ENDS", "KEY_MODE"];
  for (const each of [...expected, "WEB_SERVER_UNREACHED"])
    assert.ok(codes.includes(each), `${each} in ${stdout}`);
});

test("a node needs its configuration, and a configuration its node", async () => {
  const { code, stderr } = await doctor("--node", "seven");
  assert.deepEqual([code, stderr], [2, "dlba: --config and --node belong together\n"]);
});
