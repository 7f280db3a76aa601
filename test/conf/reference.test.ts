import assert from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { parse } from "yaml";
import { configJsonSchema, configJsonSchemaText, type JsonSchema } from "../../conf/json-schema.ts";
import { parseConfig } from "../../conf/load.ts";
import { isRecord } from "../../conf/record.ts";
import { withReference } from "../../conf/reference.ts";

const ROOT = join(import.meta.dirname, "../..");
const read = (path: string): string => readFileSync(join(ROOT, path), "utf8");

test("conf/dlba.schema.json is in step with the schema (npm run build:schema)", () => {
  assert.equal(read("conf/dlba.schema.json"), configJsonSchemaText());
});

test("docs/configuration.md is in step with the schema (npm run build:schema)", () => {
  const document = read("docs/configuration.md");
  assert.ok(document.includes("| `table_size` |"));
  assert.equal(document, withReference(document));
});

test("every example is without errors", () => {
  const examples = globSync("conf/examples/*.yaml", { cwd: ROOT });
  assert.ok(examples.length >= 3);
  for (const example of examples) {
    const parsed = parseConfig(read(example), example);
    assert.deepEqual("errors" in parsed ? parsed.errors : [], []);
  }
});

test("conf/examples/full.yaml has every key, and shows the defaults of what needs no choice", () => {
  const example: unknown = parse(read("conf/examples/full.yaml"));
  const root = configJsonSchema();
  assert.deepEqual(missingKeys(root, example, ""), []);
  for (const section of ["scheduler", "timeouts", "limits", "status", "push"]) {
    const values = isRecord(example) ? example[section] : undefined;
    const keys = Object.entries(root.properties?.[section]?.properties ?? {});
    // A mapping that may be left out is off by default, and its keys have defaults of their own.
    for (const [key, { default: standard }] of keys.filter(([, part]) => part.properties === undefined)) {
      assert.equal(isRecord(values) ? values[key] : undefined, standard, `${section}.${key}`);
    }
  }
});

/** A key, or what it stands in. */
const isMissingIn = (keys: readonly string[], key: string): boolean =>
  keys.some((known) => key === known || key.startsWith(`${known}.`) || key.startsWith(`${known}[`));

/** Keys of the schema that stand nowhere in an example; of a list, any entry may have them. */
function missingKeys(schema: JsonSchema, value: unknown, path: string): string[] {
  const { items } = schema;
  if (items !== undefined) {
    const entries: readonly unknown[] = Array.isArray(value) ? value : [undefined];
    const all = entries.map((entry) => missingKeys(items, entry, `${path}[]`));
    return [...new Set(all.flat())].filter((key) => all.every((keys) => isMissingIn(keys, key)));
  }
  return Object.entries(schema.properties ?? {}).flatMap(([key, part]) => {
    const here = `${path}.${key}`;
    if (!isRecord(value) || value[key] === undefined) return [here];
    return missingKeys(part, value[key], here);
  });
}
