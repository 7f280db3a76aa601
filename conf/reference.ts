/** The reference of all keys for docs/configuration.md, made from the schema. */
import { expectation } from "./expectation.ts";
import { configJsonSchema, type JsonSchema } from "./json-schema.ts";

export const REFERENCE_BEGIN = "<!-- reference: written by npm run build:schema -->";
export const REFERENCE_END = "<!-- end of the reference -->";

/** A document with its reference replaced by the schema's; everything else stays. */
export function withReference(document: string): string {
  const begin = document.indexOf(REFERENCE_BEGIN) + REFERENCE_BEGIN.length;
  const end = document.indexOf(REFERENCE_END);
  return `${document.slice(0, begin)}\n${configReference()}${document.slice(end)}`;
}

/** A section with a table for each part of the file. */
export function configReference(): string {
  const root = configJsonSchema();
  const parts = Object.entries(root.properties ?? {});
  return parts.map(([name, part]) => sectionOf(name, part, isRequired(root, name))).join("");
}

function sectionOf(name: string, part: JsonSchema, isNeeded: boolean): string {
  const bounds = part.type === "array" ? `, ${expectation(part)}` : "";
  const rows = rowsOf(part.items ?? part, "");
  const head = "| key | what | default | meaning |\n| --- | --- | --- | --- |\n";
  return `\n### ${name}\n\n${isNeeded ? "Needed" : "May be left out"}${bounds}.\n\n${head}${rows.join("")}\n`;
}

/** One row per key; keys of mappings inside of a list are `list[].key`, those inside of a mapping `mapping.key`. */
function rowsOf(schema: JsonSchema, prefix: string): string[] {
  return Object.entries(schema.properties ?? {}).flatMap(([key, part]) => {
    const name = prefix + key;
    const row = `| \`${name}\` | ${whatOf(part)} | ${defaultOf(schema, key, part)} | ${part.description ?? ""} |\n`;
    const inner = part.items === undefined ? rowsOf(part, `${name}.`) : rowsOf(part.items, `${name}[].`);
    return [row].concat(inner);
  });
}

function whatOf(part: JsonSchema): string {
  if (part.properties !== undefined) return "a mapping";
  if (part.items === undefined || part.items.properties !== undefined) return expectation(part);
  return `${expectation(part)}, each ${expectation(part.items)}`;
}

function defaultOf(parent: JsonSchema, key: string, part: JsonSchema): string {
  if (isRequired(parent, key)) return "*needed*";
  return part.default === undefined ? "–" : `\`${JSON.stringify(part.default)}\``;
}

function isRequired(schema: JsonSchema, key: string): boolean {
  return schema.required?.includes(key) ?? false;
}
