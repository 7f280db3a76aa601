/**
 * Turns what the schema refuses into an operator's language. What would be right is read off the schema itself,
 * so a sentence can never name another range than the one that is checked.
 */
import type { z } from "zod";
import type { ConfigPath, Finding } from "./config-error.ts";
import { pathText } from "./config-error.ts";
import { configJsonSchema, type JsonSchema } from "./json-schema.ts";
import { MAX_CONFIG_ERRORS } from "./limits.ts";
import { isRecord } from "./record.ts";
import { listOf, suggestion } from "./suggest.ts";

type Issue = z.core.$ZodIssue;
/** The scalar as it stands in the file; undefined for anything but a scalar. */
type SourceText = (path: ConfigPath) => string | undefined;

/** The findings of one schema issue: several for several unknown keys. */
export function findingsOf(issue: Issue, value: unknown, sourceText: SourceText): Finding[] {
  const path = issue.path.map((step) => (typeof step === "number" ? step : String(step)));
  if (issue.code === "unrecognized_keys")
    return issue.keys.slice(0, MAX_CONFIG_ERRORS).map((key) => unknownKey(path, key));
  const found = valueAt(value, path);
  const hint = issue.message === "" ? `expected ${expectationAt(path)}` : issue.message;
  if (found === undefined) return [missingKey(path, hint)];
  const advice =
    quoteAdvice(path, found, sourceText) || listAdvice(path, found, sourceText) || unitAdvice(path, found);
  return [{ path, message: wrongValue(path, found, sourceText), hint: hint + advice }];
}

function unknownKey(path: ConfigPath, key: string): Finding {
  if (key === "<<") {
    const hint = "write the keys out: only whole values are taken from elsewhere, by '*'";
    return {
      path: [...path, key],
      isAtKey: true,
      message: "unknown key '<<': there are no merge keys",
      hint,
    };
  }
  const known = Object.keys(schemaAt(path)?.properties ?? {});
  const meant = suggestion(key, known);
  const hint =
    meant === undefined ? `the keys known here are ${listOf(known, "and")}` : `did you mean '${meant}'?`;
  return { path: [...path, key], isAtKey: true, message: `unknown key '${clip(key)}'`, hint };
}

function missingKey(path: ConfigPath, hint: string): Finding {
  const where = path.length > 1 ? ` in ${pathText(path.slice(0, -1))}` : "";
  return { path, message: `missing key '${path.at(-1)}'${where}`, hint };
}

function wrongValue(path: ConfigPath, found: unknown, sourceText: SourceText): string {
  if (path.length === 0) return found === null ? "the file is empty" : `the file holds ${kindOf(found)}`;
  const name = pathText(path);
  if (found === null) return `${name} is empty`;
  if (Array.isArray(found)) return `${name} is a list of ${found.length}`;
  if (typeof found === "object") return `${name} is a mapping`;
  return `${name} is ${typeof found === "string" ? clip(JSON.stringify(found)) : clip(sourceText(path) ?? JSON.stringify(found))}`;
}

function kindOf(found: unknown): string {
  if (Array.isArray(found)) return "a list";
  return typeof found === "object" ? "a mapping" : "a single value";
}

/** A number or a boolean that would be right as text: YAML wants quotes. */
function quoteAdvice(path: ConfigPath, found: unknown, sourceText: SourceText): string {
  const schema = schemaAt(path);
  if ((typeof found !== "number" && typeof found !== "boolean") || schema?.type !== "string") return "";
  const wouldBeRight =
    schema.pattern !== undefined && new RegExp(schema.pattern).test(sourceText(path) ?? "");
  return wouldBeRight ? ": put it in quotes" : "";
}

/** A single value where a list belongs. */
function listAdvice(path: ConfigPath, found: unknown, sourceText: SourceText): string {
  const isSingle = typeof found === "string" || typeof found === "number";
  if (schemaAt(path)?.type !== "array" || !isSingle) return "";
  return `: write [${clip(sourceText(path) ?? String(found))}] for a single one`;
}

const UNITS: readonly (readonly [ending: string, unit: string])[] = [
  ["_ms", "milliseconds"],
  ["_s", "seconds"],
  ["_bytes", "bytes"],
];

/** A number with a unit behind it, such as 5s. */
function unitAdvice(path: ConfigPath, found: unknown): string {
  if (typeof found !== "string" || !/^\d+ ?[A-Za-z]+$/.test(found)) return "";
  const [, unit] = UNITS.find(([ending]) => String(path.at(-1)).endsWith(ending)) ?? [];
  return unit === undefined ? "" : `: ${unit}, without a unit`;
}

const CLIP_CHARACTERS = 80;
function clip(text: string): string {
  return text.length <= CLIP_CHARACTERS ? text : `${text.slice(0, CLIP_CHARACTERS)}…`;
}

function valueAt(value: unknown, path: ConfigPath): unknown {
  let here = value;
  for (const step of path) {
    if (!isRecord(here) || !Object.hasOwn(here, step)) return undefined;
    here = here[step];
  }
  return here;
}

let schema: JsonSchema | undefined;
function schemaAt(path: ConfigPath): JsonSchema | undefined {
  schema ??= configJsonSchema();
  let here: JsonSchema | undefined = schema;
  for (const step of path) here = typeof step === "number" ? here?.items : here?.properties?.[step];
  return here;
}

/** What may stand at a path, after "expected": `a whole number from 1 to 65535`. */
function expectationAt(path: ConfigPath): string {
  return expectation(schemaAt(path) ?? {});
}

/** What a schema allows, in words. */
export function expectation(schema: JsonSchema): string {
  if (schema.enum !== undefined) return listOf(schema.enum, "or");
  if (schema.type === "integer") return `a whole number from ${schema.minimum} to ${schema.maximum}`;
  if (schema.type === "number") return `a number from ${schema.minimum} to ${schema.maximum}`;
  if (schema.type === "boolean") return "true or false";
  if (schema.type === "array") {
    return `a list of ${schema.minItems ?? 0} to ${schema.maxItems} entries ('- …')`;
  }
  if (schema.type === "object") {
    return `a mapping with the keys ${listOf(Object.keys(schema.properties ?? {}), "and")}`;
  }
  const form = schema["x-form"];
  if (form !== undefined || schema.maxLength === undefined) return form ?? "text";
  return `text of ${schema.minLength ?? 0} to ${schema.maxLength} characters`;
}
