/** From the configuration file's text to a checked configuration, or to everything that is wrong with it. */
import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { z } from "zod";
import { byPosition, formatConfigErrors, type ConfigError, type Finding, pathText } from "./config-error.ts";
import { DlbaError } from "./errors.ts";
import { findingsOf } from "./expectation.ts";
import { MAX_CONFIG_BYTES, MAX_CONFIG_ERRORS } from "./limits.ts";
import { isRecord } from "./record.ts";
import { configSchema, type Config } from "./schema.ts";
import { checkSemantics, type Draft } from "./semantics.ts";
import { readYaml, type YamlSource } from "./yaml-source.ts";

export type { ConfigError } from "./config-error.ts";

export type ParsedConfig = { readonly config: Config } | { readonly errors: readonly ConfigError[] };

/**
 * Reads and checks a configuration file. Throws DlbaError: CONFIG_UNREADABLE (missing, too large, not UTF-8), or
 * CONFIG_INVALID, whose message holds one `file:line:column: …` line per error.
 */
export function loadConfig(path: string): Config {
  const parsed = parseConfig(readConfigFile(path), path);
  if ("config" in parsed) return parsed.config;
  throw new DlbaError("CONFIG_INVALID", formatConfigErrors(parsed.errors));
}

/** The text of a configuration file. Throws DlbaError CONFIG_UNREADABLE. */
export function readConfigFile(path: string): string {
  const bytes = readBounded(path);
  if (bytes.length > MAX_CONFIG_BYTES) {
    throw new DlbaError("CONFIG_UNREADABLE", `${path} is larger than ${MAX_CONFIG_BYTES} bytes`);
  }
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new DlbaError("CONFIG_UNREADABLE", `${path} is not UTF-8 text`, { cause });
  }
}

/** Reads one byte more than allowed at most: the size that is told of a pipe or a device means nothing. */
function readBounded(path: string): Buffer {
  let fd: number | undefined;
  try {
    fd = openSync(path, "r");
    const most = fstatSync(fd).isFile() ? fstatSync(fd).size + 1 : MAX_CONFIG_BYTES + 1;
    const bytes = Buffer.alloc(Math.min(most, MAX_CONFIG_BYTES + 1));
    let length = 0;
    for (;;) {
      const count = readSync(fd, bytes, length, bytes.length - length, null);
      length += count;
      if (count === 0 || length === bytes.length) return bytes.subarray(0, length);
    }
  } catch (cause) {
    throw new DlbaError("CONFIG_UNREADABLE", `the configuration ${path} can't be read`, { cause });
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}

/** Checks a configuration's text; `file` is the name that errors carry. Tells MAX_CONFIG_ERRORS at most; never throws. */
export function parseConfig(text: string, file: string): ParsedConfig {
  if (Buffer.byteLength(text) > MAX_CONFIG_BYTES) return { errors: [tooLarge(file)] };
  const source = readYaml(text);
  if (source.faults.length > 0) return { errors: faultErrors(source, file) };
  const result = configSchema.safeParse(source.value, { error: () => "" });
  const semantic = checkSemantics(result.success ? result.data : salvage(source.value));
  const findings = [...(result.success ? [] : schemaFindings(result.error.issues, source)), ...semantic];
  if (result.success && findings.length === 0) return { config: result.data };
  const told = findings.slice(0, MAX_CONFIG_ERRORS);
  return { errors: told.map((finding) => locateFinding(finding, source, file)).sort(byPosition) };
}

/** Findings of who has looked behind a configuration without errors, such as at its files, with their places in its text. */
export function locateFindings(text: string, file: string, findings: readonly Finding[]): ConfigError[] {
  const source = readYaml(text);
  return findings.map((finding) => locateFinding(finding, source, file)).sort(byPosition);
}

function tooLarge(file: string): ConfigError {
  const message = `the configuration is larger than ${MAX_CONFIG_BYTES} bytes`;
  return { file, line: 1, column: 1, path: "", message, hint: "make it smaller" };
}

function faultErrors(source: YamlSource, file: string): ConfigError[] {
  return source.faults
    .slice(0, MAX_CONFIG_ERRORS)
    .map(({ offset, message, hint }) => {
      const { line, column } = source.positionOf(offset);
      return { file, line, column, path: "", message, hint };
    })
    .sort(byPosition);
}

function schemaFindings(issues: readonly z.core.$ZodIssue[], source: YamlSource): Finding[] {
  return issues
    .slice(0, MAX_CONFIG_ERRORS)
    .flatMap((issue) => findingsOf(issue, source.value, source.sourceText));
}

function locateFinding(finding: Finding, source: YamlSource, file: string): ConfigError {
  const { line, column } = source.locate(finding.path, finding.isAtKey === true);
  const { message, hint } = finding;
  return { file, line, column, path: pathText(finding.path), message, hint };
}

/**
 * What is usable of a configuration that the schema refused as a whole: each part that is right by itself, with
 * its defaults. Lists keep their places.
 */
function salvage(value: unknown): Draft<Config> {
  return salvagePart(configSchema, value) ?? {};
}

function salvagePart(schema: z.core.$ZodType, value: unknown): unknown {
  const result = z.safeParse(schema, value);
  if (result.success) return result.data;
  const inner = unwrapped(schema);
  if (inner instanceof z.ZodArray) {
    return Array.isArray(value) ? value.map((item) => salvagePart(inner.element, item)) : undefined;
  }
  if (!(inner instanceof z.ZodObject) || !isRecord(value)) return undefined;
  const fields = Object.entries<z.core.$ZodType>(inner.shape);
  return Object.fromEntries(
    fields.flatMap(([key, part]) => {
      const isLeftOut = !Object.hasOwn(value, key);
      const kept = salvagePart(part, isLeftOut ? undefined : value[key]);
      // Left out and without a default: absent here too. Refused: there, but unknown.
      return isLeftOut && kept === undefined ? [] : [[key, kept] as const];
    }),
  );
}

function unwrapped(schema: z.core.$ZodType): z.core.$ZodType {
  const isWrapper =
    schema instanceof z.ZodDefault || schema instanceof z.ZodPrefault || schema instanceof z.ZodOptional;
  return isWrapper ? unwrapped(schema.unwrap()) : schema;
}
