/**
 * An operator's own configuration in a lab: only what can't be as in production is changed in a copy, and told.
 */
import { accessSync, constants } from "node:fs";
import { type Document, parseDocument } from "yaml";
import type { Config } from "../conf/schema.ts";
import { DEFAULT_SERVER_NAMES } from "./lab-config.ts";
import { movedServers, webServerNames } from "./rehearsal/stand-ins.ts";

export interface CertificateFiles {
  readonly certificate: string;
  readonly key: string;
}

export interface ConfigPlaces {
  readonly keyFile: string;
  /** Certificate and key of the i-th certificate. */
  readonly certificateFiles: (i: number) => CertificateFiles;
  /** Of the lab's own authority. */
  readonly caFile: string;
  /** A page in the place of those that can't be read. */
  readonly pageFile: string;
  readonly accessLogFile: string;
}

/** A certificate to be made for the lab: for these host names and addresses. */
export interface WantedCertificate {
  readonly index: number;
  readonly names: readonly string[];
}
export interface AdaptedConfig {
  readonly yaml: string;
  readonly wanted: readonly WantedCertificate[];
  /** Whether the array key had to be replaced by a made one. */
  readonly needsKey: boolean;
  readonly needsPage: boolean;
  /** What the web servers' stand-ins show, if any of them speaks TLS. */
  readonly webCertificate: CertificateFiles | null;
  /** What differs from the operator's file, in sentences. */
  readonly changes: readonly string[];
}

interface Adaptation {
  readonly document: Document.Parsed;
  readonly config: Config;
  readonly places: ConfigPlaces;
  readonly changes: string[];
  readonly wanted: WantedCertificate[];
}

/**
 * Adapts the operator's file: files that can't be read here are replaced, XDP runs in generic mode, logs go to the lab. With
 * `hasStandIns` the web servers are taken to be stand-ins: they have the lab's certificates, and addresses that no node has.
 */
export function adaptConfig(
  yaml: string,
  config: Config,
  places: ConfigPlaces,
  hasStandIns = false,
): AdaptedConfig {
  const all: Adaptation = { document: parseDocument(yaml), config, places, changes: [], wanted: [] };
  const needsKey = adaptKey(all);
  adaptCertificates(all);
  const needsPage = adaptPages(all);
  const webCertificate = hasStandIns ? adaptWebServers(all) : null;
  adaptRuntime(all, hasStandIns);
  const { document, wanted, changes } = all;
  return { yaml: document.toString(), wanted, needsKey, needsPage, webCertificate, changes };
}

function adaptKey({ document, config, places, changes }: Adaptation): boolean {
  if (isReadable(config.array.key_file)) return false;
  document.setIn(["array", "key_file"], places.keyFile);
  changes.push(`the array key ${config.array.key_file} can't be read here: the lab made one`);
  return true;
}

function adaptCertificates(all: Adaptation): void {
  all.config.vservers.forEach((vserver, i) =>
    vserver.certificates.forEach(({ certificate, key }, j) => {
      if (isReadable(certificate) && isReadable(key)) return;
      const names = vserver.hosts.length > 0 ? vserver.hosts : DEFAULT_SERVER_NAMES;
      all.document.setIn(["vservers", i, "certificates", j], want(all, names));
      all.changes.push(`the certificate ${certificate} can't be read here: the lab made one`);
    }),
  );
}

/** Has a certificate made; returns its files. */
function want({ wanted, places }: Adaptation, names: readonly string[]): CertificateFiles {
  const index = wanted.length;
  wanted.push({ index, names });
  return places.certificateFiles(index);
}

function adaptPages({ document, config, places, changes }: Adaptation): boolean {
  const before = changes.length;
  const adapt = (file: string | undefined, path: readonly (string | number)[]): void => {
    if (file === undefined || isReadable(file)) return;
    document.setIn(path, places.pageFile);
    changes.push(`the page ${file} can't be read here: the lab made one`);
  };
  config.vservers.forEach(({ error_pages, rules }, i) => {
    error_pages.forEach(({ file }, j) => adapt(file, ["vservers", i, "error_pages", j, "file"]));
    rules.forEach(({ deny }, j) => adapt(deny?.page, ["vservers", i, "rules", j, "deny", "page"]));
  });
  return changes.length > before;
}

/** Web servers prove who they are by the lab's authority; those on nodes are moved. Returns their certificate. */
function adaptWebServers(all: Adaptation): CertificateFiles | null {
  const { document, config, places, changes } = all;
  for (const { pool, server, from, to } of movedServers(config)) {
    document.setIn(["pools", pool, "servers", server, "address"], to);
    const { id } = config.pools[pool]!.servers[server]!;
    changes.push(`web server ${id} is at ${to}: a lab's nodes have none of their own at ${from}`);
  }
  const names = webServerNames(config);
  if (names.length === 0) return null;
  config.pools.forEach(({ tls }, i) => {
    if (tls === undefined) return;
    if (tls.verify) document.setIn(["pools", i, "tls", "ca"], places.caFile);
    if (tls.certificate === undefined || tls.key === undefined) return;
    if (isReadable(tls.certificate) && isReadable(tls.key)) return;
    const { certificate, key } = want(all, ["dlba"]);
    document.setIn(["pools", i, "tls", "certificate"], certificate);
    document.setIn(["pools", i, "tls", "key"], key);
    changes.push(`the certificate ${tls.certificate} can't be read here: the lab made one`);
  });
  changes.push("web servers show certificates of the lab's own authority");
  return want(all, names);
}

function adaptRuntime({ document, config, places, changes }: Adaptation, hasStandIns: boolean): void {
  if (config.scheduler.xdp !== "generic") {
    document.setIn(["scheduler", "xdp"], "generic");
    changes.push("XDP runs in generic mode, as a veth pair needs");
  }
  const named = [config.status.monitor, config.status.dashboard].flatMap((part) => Object.values(part ?? {}));
  const missing = named.filter(
    (file) => typeof file === "string" && file.startsWith("/") && !isReadable(file),
  );
  if (missing.length > 0) {
    document.deleteIn(["status", "monitor"]);
    document.deleteIn(["status", "dashboard"]);
    changes.push(`status.monitor and status.dashboard are not served: ${missing[0]} can't be read here`);
  }
  if (config.access_log !== undefined) {
    document.setIn(["access_log", "file"], places.accessLogFile);
    changes.push(`the access log of all nodes is ${places.accessLogFile}`);
  }
  if (hasStandIns && config.limits.workers !== 1) {
    document.setIn(["limits", "workers"], 1);
    changes.push("each node has one worker, as all of them share this machine's cores");
  }
}

function isReadable(path: string): boolean {
  try {
    accessSync(path, constants.R_OK);
    return true;
  } catch {
    return false;
  }
}
