/** What all processes of a node are given: read once, TLS to web servers included. */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { readGeneration, sameAtStart } from "../../cli/generation.ts";
import { makeCa, makeSigned } from "../certificates.ts";

const GOOD = readFileSync(new URL("../conf/good.yaml", import.meta.url), "utf8");
const dir = mkdtempSync(join(tmpdir(), "dlba-generation-"));
after(() => rmSync(dir, { recursive: true, force: true }));

const key = join(dir, "array.key");
writeFileSync(key, `${Buffer.alloc(32, 7).toString("base64")}\n`, { mode: 0o600 });
const ca = makeCa();
const own = makeSigned(ca, "DNS:node.test");

function configOf(tls: string): string {
  const file = join(dir, "dlba.yaml");
  const withKey = GOOD.replace(/key_file: .*/, `key_file: ${key}`);
  writeFileSync(file, withKey.replace("    servers:", `    tls: ${tls}\n    servers:`));
  return file;
}
const held = (path: string): string => readFileSync(path).toString("base64");

test("authorities, certificate and key for web servers are in it", () => {
  const file = configOf(`{ ca: ${ca.certificate}, certificate: ${own.certificate}, key: ${own.key} }`);
  const { files } = readGeneration(file);
  for (const path of [key, ca.certificate, own.certificate, own.key]) assert.equal(files[path], held(path));
});

test("the system's authorities are in it, too, where a pool goes by them", () => {
  const { files } = readGeneration(configOf("{}"));
  const others = Object.keys(files).filter((path) => path !== key);
  assert.equal(others.length, 1);
  assert.equal(files[others[0]!], held(others[0]!));
});

test("other authorities or another client certificate need new workers: the same configuration is not the same at start", () => {
  const file = configOf(`{ ca: ${ca.certificate}, certificate: ${own.certificate}, key: ${own.key} }`);
  const before = readGeneration(file);
  assert.equal(sameAtStart(before, readGeneration(file)), true);
  const [other, another] = [makeCa(), makeSigned(ca, "DNS:node.test")];
  writeFileSync(ca.certificate, readFileSync(other.certificate));
  assert.equal(sameAtStart(before, readGeneration(file)), false);
  const between = readGeneration(file);
  for (const kind of ["certificate", "key"] as const) writeFileSync(own[kind], readFileSync(another[kind]));
  assert.equal(sameAtStart(between, readGeneration(file)), false);
});
