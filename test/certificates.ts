/** Certificates for tests, good and bad, made with the system's openssl; the directory goes with the test's process. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export interface KeyPair {
  readonly certificate: string;
  readonly key: string;
}

const NEW_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"] as const;
const dir = mkdtempSync(join(tmpdir(), "dlba-certificates-"));
process.on("exit", () => rmSync(dir, { recursive: true, force: true }));
let made = 0;

const openssl = (args: readonly string[], input?: string | Buffer): Buffer =>
  execFileSync("openssl", args, { input, stdio: ["pipe", "pipe", "ignore"] });

const newPair = (): KeyPair => {
  made++;
  return { certificate: join(dir, `${made}.crt`), key: join(dir, `${made}.key`) };
};

/** An authority's own certificate. */
export function makeCa(): KeyPair {
  const pair = newPair();
  const files = ["-keyout", pair.key, "-out", pair.certificate];
  const uses = ["-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign"];
  openssl(["req", "-x509", ...NEW_KEY, "-subj", `/CN=authority ${made}`, "-days", "2", ...files, ...uses]);
  return pair;
}

/** A certificate for names such as `DNS:a.test` or `IP:127.0.0.1`, signed by an authority; for as many days. */
export function makeSigned(ca: KeyPair, names: string, days = 2): KeyPair {
  const pair = newPair();
  const extensions = join(dir, `${made}.ext`);
  writeFileSync(extensions, `subjectAltName=${names}\n`);
  const request = openssl(["req", "-new", ...NEW_KEY, "-subj", "/CN=test", "-keyout", pair.key]);
  const authority = ["-CA", ca.certificate, "-CAkey", ca.key, "-set_serial", String(1000 + made)];
  const files = ["-extfile", extensions, "-out", pair.certificate, "-days", String(days)];
  openssl(["x509", "-req", ...authority, ...files], request);
  return pair;
}

/** A certificate that only itself speaks for. */
export function makeSelfSigned(names: string): KeyPair {
  const pair = newPair();
  const subject = ["-subj", "/CN=test", "-days", "2", "-addext", `subjectAltName=${names}`];
  openssl(["req", "-x509", ...NEW_KEY, ...subject, "-keyout", pair.key, "-out", pair.certificate]);
  return pair;
}
