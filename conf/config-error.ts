/** What is wrong in a configuration file, where, and what would be right. */
import { MAX_CONFIG_ERRORS } from "./limits.ts";

/** Where in the configuration: keys and list indices from the top. */
export type ConfigPath = readonly (string | number)[];

/** A finding before its position is known. */
export interface Finding {
  readonly path: ConfigPath;
  /** Whether the position is the key's (it should not be there) and not its value's. */
  readonly isAtKey?: boolean;
  readonly message: string;
  readonly hint: string;
}

export interface ConfigError {
  readonly file: string;
  /** Both count from 1. */
  readonly line: number;
  readonly column: number;
  /** Such as `vservers[0].ports[1]`; empty for the file as a whole. */
  readonly path: string;
  /** What is wrong. */
  readonly message: string;
  /** What would be right. */
  readonly hint: string;
}

/** `vservers[0].ports[1]` */
export function pathText(path: ConfigPath): string {
  return path
    .map((step, i) => (typeof step === "number" ? `[${step}]` : `${i === 0 ? "" : "."}${step}`))
    .join("");
}

/** `file:line:column: what is wrong; what would be right` */
export function formatConfigError(error: ConfigError): string {
  return `${error.file}:${error.line}:${error.column}: ${error.message}; ${error.hint}`;
}

/** One line per error, and one more when there may be others that were not told. */
export function formatConfigErrors(errors: readonly ConfigError[]): string {
  const lines = errors.map(formatConfigError);
  if (errors.length >= MAX_CONFIG_ERRORS) lines.push(`only ${MAX_CONFIG_ERRORS} errors are told at once`);
  return lines.join("\n");
}

/** Orders errors by their place in the file. */
export function byPosition(a: ConfigError, b: ConfigError): number {
  return a.line - b.line || a.column - b.column;
}
