/** A configuration with the files that it names, read once and checked: what all processes of a node get, or none. */
import { readFileSync } from "node:fs";
import { formatConfigError, formatConfigErrors } from "../conf/config-error.ts";
import { checkCertificateFiles, type CertificateFinding } from "../conf/certificates.ts";
import { DlbaError } from "../conf/errors.ts";
import { certificateFiles, namedFiles, poolFiles } from "../conf/given-files.ts";
import { locateFindings, parseConfig, readConfigFile } from "../conf/load.ts";
import type { Config } from "../conf/schema.ts";
import type { Snapshot } from "../conf/snapshot.ts";
import { nativeMemory } from "../net/ffi.ts";
import { createMemoryFile } from "../net/memory-file.ts";
import { freeContext, TICKET_KEYS_BYTES } from "../net/openssl.ts";
import { createServerTls } from "../dlba-server/pools/server-tls.ts";
import { createTls, freeTls } from "../dlba-server/tls.ts";

export interface Generation extends Snapshot {
  /** The text that the configuration was read from, and where that stands: errors in its files are told with its lines. */
  readonly text: string;
  readonly file: string;
  /** What clients will not like, but is no reason not to start. */
  readonly warnings: readonly string[];
}

/** Reads a configuration and its files. Throws DlbaError: CONFIG_UNREADABLE, CONFIG_INVALID, FILE_UNREADABLE, or of a certificate. */
export function readGeneration(configFile: string): Generation {
  const { text, config } = readText(configFile);
  return withFiles(configFile, text, config);
}

/** The same for a text that came by another way; `file` is what errors are told with. */
export function textGeneration(text: string, file: string): Generation {
  return withFiles(file, text, configOf(text, file));
}

/** A configuration without its files. Throws DlbaError CONFIG_UNREADABLE or CONFIG_INVALID. */
export function readText(configFile: string): { readonly text: string; readonly config: Config } {
  const text = readConfigFile(configFile);
  return { text, config: configOf(text, configFile) };
}

/** The configuration that a text is. Throws DlbaError CONFIG_INVALID. */
export function configOf(text: string, file: string): Config {
  const parsed = parseConfig(text, file);
  if ("errors" in parsed) throw new DlbaError("CONFIG_INVALID", formatConfigErrors(parsed.errors));
  return parsed.config;
}

/** The same configuration with what its files hold now. Throws as `readGeneration`. */
export function withFiles(configFile: string, text: string, config: Config): Generation {
  const vserverFiles = certificateFiles(config);
  const others = namedFiles(config).filter((path) => !vserverFiles.includes(path));
  const read = new Map<string, Buffer>();
  const readOnce = (path: string): Buffer => {
    const bytes = read.get(path) ?? readFileSync(path);
    read.set(path, bytes);
    return bytes;
  };
  const findings = checkCertificateFiles(config, readOnce, Date.now());
  const bad = findings.filter(({ kind }) => kind !== "out-of-date");
  if (bad.length > 0) {
    throw new DlbaError("CONFIG_INVALID", formatConfigErrors(locateFindings(text, configFile, bad)));
  }
  for (const path of others) readNamed(path, readOnce);
  tryContexts(config, readOnce);
  // All that was read, the system's authorities included.
  const files = Object.fromEntries([...read].map(([path, bytes]) => [path, bytes.toString("base64")]));
  return { config, files, text, file: configFile, warnings: warningsOf(text, configFile, findings) };
}

/**
 * Whether workers of one generation have read the same as those of another, but for certificates of vservers, which alone are
 * looked at again while a worker runs. The configurations are the same.
 */
export function sameAtStart(before: Snapshot, after: Snapshot): boolean {
  const renewed = new Set(certificateFiles(before.config));
  for (const path of poolFiles(before.config)) renewed.delete(path);
  const paths = new Set([...Object.keys(before.files), ...Object.keys(after.files)]);
  return [...paths].every((path) => renewed.has(path) || before.files[path] === after.files[path]);
}

function readNamed(path: string, read: (path: string) => Buffer): void {
  try {
    read(path);
  } catch (cause) {
    throw new DlbaError("FILE_UNREADABLE", `${path} can't be read`, { cause });
  }
}

/** What OpenSSL itself has to say to them, before any worker hears of them. */
function tryContexts({ vservers, pools }: Config, read: (path: string) => Buffer): void {
  for (const { tls, protocol } of pools) {
    if (tls !== undefined) freeContext(createServerTls(tls, protocol, read));
  }
  const keys = nativeMemory(TICKET_KEYS_BYTES);
  for (const vserver of vservers.filter(({ protocol }) => protocol === "https")) {
    freeTls(createTls(vserver, keys.address, read));
  }
}

const warningsOf = (text: string, file: string, findings: readonly CertificateFinding[]): string[] =>
  locateFindings(
    text,
    file,
    findings.filter(({ kind }) => kind === "out-of-date"),
  ).map(formatConfigError);

/** A descriptor for processes to inherit. */
export function writeSnapshot({ config, files }: Snapshot): number {
  return createMemoryFile("dlba-snapshot", Buffer.from(JSON.stringify({ config, files } satisfies Snapshot)));
}
