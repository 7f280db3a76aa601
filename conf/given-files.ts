/**
 * Files that a configuration names. A supervisor reads each of them once and gives it to the processes of its node, so that all
 * have the same, whatever happens to the file meanwhile; a process that was given none reads the disk.
 */
import { readFileSync } from "node:fs";
import type { Config } from "./schema.ts";

const given = new Map<string, Buffer>();

/** From now on these are what the files hold. Those that were given before and are not among them stay. */
export function giveFiles(files: Readonly<Record<string, string>>): void {
  for (const [path, content] of Object.entries(files)) given.set(path, Buffer.from(content, "base64"));
}

/** What a file holds. Throws as `readFileSync` does. */
export function readGivenFile(path: string): Buffer {
  return given.get(path) ?? readFileSync(path);
}

/** The certificates and keys that a configuration names, each once. */
export function certificateFiles({ vservers }: Config): string[] {
  const pairs = vservers.flatMap(({ certificates }) => certificates);
  return [...new Set(pairs.flatMap(({ certificate, key }) => [certificate, key]))];
}

/** The pages that a configuration names: of the proxy's own answers, and of rules that deny. */
function pageFiles({ vservers }: Config): string[] {
  return vservers.flatMap(({ error_pages, rules }) => [
    ...error_pages.map(({ file }) => file),
    ...rules.flatMap(({ deny }) => deny?.page ?? []),
  ]);
}

/** What connections to web servers over TLS are made with. */
export function poolFiles({ pools }: Config): string[] {
  const files = pools.flatMap(({ tls }) => [tls?.ca, tls?.certificate, tls?.key]);
  return files.filter((file) => file !== undefined);
}

/** All files that the processes of a node read because the configuration names them, each once. */
export function namedFiles(config: Config): string[] {
  const { key_file } = config.array;
  const files = [key_file, ...certificateFiles(config), ...pageFiles(config), ...poolFiles(config)];
  return [...new Set(files)];
}
