/** What can be said of certificates and keys by their files alone: whether they can be read, belong together, and last. */
import { createPrivateKey, X509Certificate, type KeyObject } from "node:crypto";
import type { Finding } from "./config-error.ts";
import { describeError } from "./errors.ts";
import type { Config } from "./schema.ts";

export interface CertificateFinding extends Finding {
  /** unreadable: nothing can be said. wrong: it can't be used. out-of-date: it can, but clients refuse it. */
  readonly kind: "unreadable" | "wrong" | "out-of-date";
}

/** All that is wrong with the certificates of https vservers. `read` throws for what can't be read. */
export function checkCertificateFiles(
  { vservers }: Pick<Config, "vservers">,
  read: (path: string) => Uint8Array,
  now_ms: number,
): CertificateFinding[] {
  return vservers.flatMap(({ certificates }, i) =>
    certificates.flatMap((files, j) =>
      checkPair(files, read, now_ms).map(({ part, kind, message, hint }) => ({
        path: ["vservers", i, "certificates", j, part],
        kind,
        message,
        hint,
      })),
    ),
  );
}

/** The same of the pairs that the status process serves with. */
export function checkStatusCertificates(
  { status: { monitor, dashboard } }: Pick<Config, "status">,
  read: (path: string) => Uint8Array,
  now_ms: number,
): CertificateFinding[] {
  return Object.entries({ monitor, dashboard }).flatMap(([name, { certificate, key } = {}]) =>
    certificate === undefined || key === undefined
      ? []
      : checkPair({ certificate, key }, read, now_ms).map(({ part, kind, message, hint }) => ({
          path: ["status", name, part],
          kind,
          message,
          hint,
        })),
  );
}

type PairFinding = Omit<CertificateFinding, "path"> & { readonly part: "certificate" | "key" };

function checkPair(
  { certificate: certificateFile, key: keyFile }: { readonly certificate: string; readonly key: string },
  read: (path: string) => Uint8Array,
  now_ms: number,
): PairFinding[] {
  const certificate = attempt("certificate", certificateFile, read, readCertificate);
  const key = attempt("key", keyFile, read, readKey);
  const found = [certificate, key].flatMap(({ finding }) => finding ?? []);
  if (certificate.value !== undefined) {
    found.push(...checkDates(certificate.value, certificateFile, now_ms));
    if (key.value !== undefined && !certificate.value.checkPrivateKey(key.value)) {
      const message = `the key ${keyFile} does not belong to the certificate ${certificateFile}`;
      found.push({
        part: "key",
        kind: "wrong",
        message,
        hint: "give the key that the certificate was made with",
      });
    }
  }
  return found;
}

interface Attempt<Value> {
  readonly value?: Value;
  readonly finding?: PairFinding;
}

function attempt<Value>(
  part: "certificate" | "key",
  file: string,
  read: (path: string) => Uint8Array,
  understand: (pem: Uint8Array) => Value | string,
): Attempt<Value> {
  let pem: Uint8Array;
  try {
    pem = read(file);
  } catch (error) {
    const message = `the ${part} ${file} can't be read: ${describeError(error)}`;
    return {
      finding: { part, kind: "unreadable", message, hint: "name a file that is there and may be read" },
    };
  }
  const value = understand(pem);
  if (typeof value !== "string") return { value };
  const message = `${file} holds no ${part === "key" ? "private key" : "certificate"} in PEM that can be used`;
  return { finding: { part, kind: "wrong", message, hint: value } };
}

function readCertificate(pem: Uint8Array): X509Certificate | string {
  try {
    return new X509Certificate(pem);
  } catch {
    return "it has to begin with the server's own certificate, between BEGIN CERTIFICATE and END CERTIFICATE";
  }
}

function readKey(pem: Uint8Array): KeyObject | string {
  if (Buffer.from(pem).includes("ENCRYPTED")) return "it is encrypted: write it without a passphrase";
  try {
    return createPrivateKey(Buffer.from(pem));
  } catch {
    return "it has to be between BEGIN PRIVATE KEY and END PRIVATE KEY";
  }
}

function checkDates(certificate: X509Certificate, file: string, now_ms: number): PairFinding[] {
  const of = { part: "certificate", kind: "out-of-date" } as const;
  if (certificate.validToDate.getTime() < now_ms) {
    const message = `the certificate ${file} has expired on ${certificate.validTo}`;
    return [{ ...of, message, hint: "renew it: clients refuse it" }];
  }
  if (certificate.validFromDate.getTime() > now_ms) {
    const message = `the certificate ${file} is valid from ${certificate.validFrom} on`;
    return [{ ...of, message, hint: "clients refuse it until then; is this machine's clock right?" }];
  }
  return [];
}
