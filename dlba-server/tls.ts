/**
 * The TLS contexts of a vserver: by server name (SNI), with a certificate for each kind of key side by side. Which names go with
 * which certificates is pure; the contexts are OpenSSL's.
 */
import { X509Certificate } from "node:crypto";
import { readGivenFile } from "../conf/given-files.ts";
import type { VserverConfig } from "../conf/schema.ts";
import {
  createServerContext,
  freeContext,
  onServerName,
  setTicketKeys,
  type SslContext,
} from "../net/openssl.ts";
import { tellSecrets } from "../net/openssl-memory.ts";
import { addCertificate } from "../net/openssl-pem.ts";

/** What is said of a certificate in a table of names. */
export interface NamedCertificate {
  /** rsa, ec, ed25519, … */
  readonly keyKind: string;
  /** Its DNS names, lower case. */
  readonly names: readonly string[];
}

/** Certificates that are used together, at most one for each kind of key: their places in the list. */
export type Together = readonly number[];

export interface NameTable {
  readonly sets: readonly Together[];
  /** Which of the sets a name gets ("*.example.org" for a level). */
  readonly byName: ReadonlyMap<string, number>;
}

/**
 * For each name the first certificate of each kind of key that has it. The first set is the default: the first certificate,
 * and those of other kinds for the very same names.
 */
export function arrangeNames(certificates: readonly NamedCertificate[]): NameTable {
  const sets: Together[] = [];
  const place = (set: Together): number => {
    const at = sets.findIndex((other) => other.join() === set.join());
    return at === -1 ? sets.push(set) - 1 : at;
  };
  const namesOf = ({ names }: NamedCertificate): string => names.toSorted().join();
  const first = certificates[0]!;
  place(firstOfEachKind(certificates, (certificate) => namesOf(certificate) === namesOf(first)));
  const names = new Set(certificates.flatMap(({ names }) => names));
  const byName = new Map(
    [...names].map((name) => [
      name,
      place(firstOfEachKind(certificates, ({ names }) => names.includes(name))),
    ]),
  );
  return { sets, byName };
}

function firstOfEachKind(
  certificates: readonly NamedCertificate[],
  isWanted: (certificate: NamedCertificate) => boolean,
): Together {
  const kinds = new Set<string>();
  return certificates.flatMap((certificate, i) => {
    if (kinds.has(certificate.keyKind) || !isWanted(certificate)) return [];
    kinds.add(certificate.keyKind);
    return [i];
  });
}

/** The set for a name that a client asks for: its own, that of its level, or the default (0). */
export function setFor({ byName }: NameTable, name: string): number {
  return byName.get(name) ?? byName.get(`*${name.slice(name.indexOf("."))}`) ?? 0;
}

/** What a certificate in PEM says of itself: its subject alternative names (RFC 9525; the common name is history). */
export function readNames(pem: Uint8Array): NamedCertificate {
  const certificate = new X509Certificate(pem);
  const names = (certificate.subjectAltName ?? "")
    .split(", ")
    .filter((name) => name.startsWith("DNS:"))
    .map((name) => name.slice(4).toLowerCase());
  return { keyKind: certificate.publicKey.asymmetricKeyType ?? "", names };
}

export interface Tls {
  /** For new connections. */
  readonly context: SslContext;
  /** It, and those that it hands over to by name. */
  readonly contexts: readonly SslContext[];
}

/** Makes the contexts of an https vserver. Throws DlbaError for a certificate or key that can't be used. */
export function createTls(
  { certificates, http2 }: VserverConfig,
  ticketKeys: number,
  read: (path: string) => Buffer = readGivenFile,
): Tls {
  const pairs = certificates.map(({ certificate, key }) => ({
    name: certificate,
    certificate: read(certificate),
    key: read(key),
  }));
  const table = arrangeNames(pairs.map(({ certificate }) => readNames(certificate)));
  const contexts: SslContext[] = [];
  try {
    for (const set of table.sets) {
      const arrange = (context: SslContext): void => {
        setTicketKeys(context, ticketKeys);
        tellSecrets(context);
        for (const i of set) addCertificate(context, pairs[i]!);
      };
      contexts.push(createServerContext(http2, arrange));
    }
  } catch (error) {
    for (const context of contexts) freeContext(context);
    throw error;
  }
  const context = contexts[0]!;
  if (contexts.length > 1) onServerName(context, (name) => contexts[setFor(table, name)]!);
  return { context, contexts };
}

export function freeTls({ contexts }: Tls): void {
  for (const context of contexts) freeContext(context);
}
