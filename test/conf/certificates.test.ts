import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { checkCertificateFiles, checkStatusCertificates } from "../../conf/certificates.ts";
import type { Config } from "../../conf/schema.ts";

const dir = mkdtempSync(join(tmpdir(), "dlba-check-"));
after(() => rmSync(dir, { recursive: true }));
const place = (name: string): string => join(dir, name);

/** Makes `${name}.pem` and `${name}.key`. */
function make(name: string): void {
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
  const out = ["-keyout", place(`${name}.key`), "-out", place(`${name}.pem`)];
  execFileSync("openssl", ["req", "-x509", ...key, "-subj", `/CN=${name}`, "-days", "10", ...out], {
    stdio: "ignore",
  });
}
make("one");
make("two");
execFileSync("openssl", [
  "pkey",
  "-in",
  place("one.key"),
  "-aes128",
  "-passout",
  "pass:x",
  "-out",
  place("locked.key"),
]);
writeFileSync(place("empty.pem"), "");

const DAY_MS = 86_400_000;

/** What is said of a pair of files: kind, which of the two, and the message without the directory. */
function said(certificate: string, key: string, now_ms = Date.now()): string[] {
  const config = { vservers: [{ certificates: [{ certificate: place(certificate), key: place(key) }] }] };
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- only this part of a configuration is looked at
  const part = config as unknown as Pick<Config, "vservers">;
  return checkCertificateFiles(part, readFileSync, now_ms).map(
    ({ kind, path, message }) => `${kind} ${path.at(-1)}: ${message.replaceAll(`${dir}/`, "")}`,
  );
}

test("a certificate and its key are good", () => {
  assert.deepEqual(said("one.pem", "one.key"), []);
});

test("each thing that is wrong is told, of the file that it is wrong with", () => {
  assert.deepEqual(said("one.pem", "two.key"), [
    "wrong key: the key two.key does not belong to the certificate one.pem",
  ]);
  assert.deepEqual(said("empty.pem", "one.key"), [
    "wrong certificate: empty.pem holds no certificate in PEM that can be used",
  ]);
  assert.deepEqual(said("one.key", "one.pem"), [
    "wrong certificate: one.key holds no certificate in PEM that can be used",
    "wrong key: one.pem holds no private key in PEM that can be used",
  ]);
  assert.deepEqual(said("one.pem", "locked.key"), [
    "wrong key: locked.key holds no private key in PEM that can be used",
  ]);
});

test("those that the status process serves with are looked at, too", () => {
  const status = {
    port: 8470,
    monitor: { port: 9472, certificate: place("one.pem"), key: place("two.key"), token_file: "/t" },
    dashboard: { port: 9471, token_file: "/t" },
  };
  const found = checkStatusCertificates({ status }, readFileSync, Date.now());
  assert.deepEqual(
    found.map(({ kind, path }) => [kind, path.join(".")]),
    [["wrong", "status.monitor.key"]],
  );
});

test("what can't be read is told as that", () => {
  const found = said("none.pem", "one.key");
  assert.equal(found.length, 1);
  assert.match(found[0]!, /^unreadable certificate: the certificate none\.pem can't be read: ENOENT/);
});

test("a certificate out of its time is told with the time", () => {
  const [late, early] = [said("one.pem", "one.key", Date.now() + 11 * DAY_MS), said("one.pem", "one.key", 0)];
  assert.match(late.join(), /^out-of-date certificate: the certificate one\.pem has expired on /);
  assert.match(early.join(), /^out-of-date certificate: the certificate one\.pem is valid from .* on$/);
});
