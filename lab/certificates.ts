/** A lab's own certificate authority (ECDSA P-256), and the certificates that it signs. */
import { writeFileSync } from "node:fs";
import { isIP } from "node:net";
import { join } from "node:path";
import { command } from "../net/command.ts";

const DAYS = "30";

export interface CertificatePaths {
  readonly certificate: string;
  readonly key: string;
}

export const caFile = (dir: string): string => join(dir, "ca.crt");
const caKey = (dir: string): string => join(dir, "ca.key");

export function certificatePaths(dir: string, index: number): CertificatePaths {
  return { certificate: join(dir, `server${index}.crt`), key: join(dir, `server${index}.key`) };
}

/** A new key without a passphrase: "ec" on the curve that all clients know. */
const NEW_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"] as const;
const AUTHORITY = [
  "-addext",
  "basicConstraints=critical,CA:TRUE",
  "-addext",
  "keyUsage=critical,keyCertSign,cRLSign",
];

export async function makeAuthority(dir: string, labName: string): Promise<void> {
  const subject = ["-subj", `/CN=DLBA lab ${labName}`, "-days", DAYS];
  const files = ["-keyout", caKey(dir), "-out", caFile(dir)];
  await command("openssl", ["req", "-x509", ...NEW_KEY, ...subject, ...files, ...AUTHORITY]);
}

/** Makes a certificate for host names and addresses; the first is its common name. */
export async function makeCertificate(dir: string, index: number, names: readonly string[]): Promise<void> {
  const { certificate, key } = certificatePaths(dir, index);
  const alternatives = names.map((name) => (isIP(name) === 0 ? `DNS:${name}` : `IP:${name}`)).join(",");
  const extensions = join(dir, `server${index}.ext`);
  writeFileSync(extensions, `subjectAltName=${alternatives}\nextendedKeyUsage=serverAuth\n`);
  const subject = ["-subj", `/CN=${names[0]}`, "-keyout", key];
  const request = await command("openssl", ["req", "-new", ...NEW_KEY, ...subject]);
  const authority = ["-CA", caFile(dir), "-CAkey", caKey(dir), "-CAcreateserial", "-days", DAYS];
  const files = ["-extfile", extensions, "-out", certificate];
  await command("openssl", ["x509", "-req", ...authority, ...files], request);
}
