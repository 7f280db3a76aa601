/** When the certificates of the configuration end, for metrics, events and `dlba doctor`. Reads files; judges nothing. */
import { X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { describeError } from "../conf/errors.ts";
import { WATCHED_CERTIFICATES } from "../conf/limits.ts";
import type { Config } from "../conf/schema.ts";

const FRESH_MS = 60_000;

export interface CertificateFact {
  readonly file: string;
  readonly not_after_ms: number;
}
export interface UnreadableCertificate {
  readonly file: string;
  readonly reason: string;
}

/** Files of certificates, each once. */
export function certificateFiles({ vservers }: Pick<Config, "vservers">): string[] {
  return [
    ...new Set(vservers.flatMap(({ certificates }) => certificates.map(({ certificate }) => certificate))),
  ];
}

/** Reads one; the first certificate of the file is the server's own. */
export function readCertificate(file: string): CertificateFact | UnreadableCertificate {
  try {
    return { file, not_after_ms: Date.parse(new X509Certificate(readFileSync(file)).validTo) };
  } catch (error) {
    return { file, reason: describeError(error) };
  }
}

/** Reads them all again when what was read is older than a minute: certificates are renewed in place. */
export function certificateWatch(
  config: Pick<Config, "vservers">,
): (now_ms: number) => readonly CertificateFact[] {
  const files = certificateFiles(config).slice(0, WATCHED_CERTIFICATES);
  let facts: CertificateFact[] = [];
  let read_ms = -Infinity;
  return (now_ms) => {
    if (now_ms - read_ms < FRESH_MS) return facts;
    read_ms = now_ms;
    facts = files.flatMap((file) => {
      const fact = readCertificate(file);
      return "reason" in fact ? [] : [fact];
    });
    return facts;
  };
}

const DAY_MS = 86_400_000;
const SOON_DAYS = 14;

/** Tells once a day which certificates have two weeks left at most, or have ended. */
export function endWatch(): (
  facts: readonly CertificateFact[],
  now_ms: number,
) => { file: string; days_left: number }[] {
  const told = new Map<string, number>();
  return (facts, now_ms) => {
    const ending = facts.flatMap(({ file, not_after_ms }) => {
      const days_left = Math.floor((not_after_ms - now_ms) / DAY_MS);
      return days_left < SOON_DAYS ? [{ file, days_left }] : [];
    });
    const fresh = ending.filter(({ file, days_left }) => told.get(file) !== days_left);
    told.clear();
    for (const { file, days_left } of ending) told.set(file, days_left);
    return fresh;
  };
}
