/** The schema of the configuration file as JSON Schema (draft 2020-12), for editors and other tools. */
import { z } from "zod";
import { configSchema } from "./schema.ts";

/** What is used of a JSON Schema here. */
export interface JsonSchema {
  readonly type?: string;
  readonly description?: string;
  /** The form of a text, in words. */
  readonly "x-form"?: string;
  readonly default?: unknown;
  readonly pattern?: string;
  readonly enum?: readonly string[];
  readonly minimum?: number;
  readonly maximum?: number;
  readonly minItems?: number;
  readonly maxItems?: number;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly items?: JsonSchema;
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly required?: readonly string[];
}

/** Describes what may stand in the file (the input side: what has a default may be left out). */
export function configJsonSchema(): JsonSchema {
  const { $schema, ...rest } = z.toJSONSchema(configSchema, { io: "input" });
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a subset of what the library's own type allows
  return {
    $schema,
    title: "DLBA configuration",
    description: "The configuration of a decrypting load-balancing array: one file, the same on every node.",
    ...rest,
  } as JsonSchema;
}

/** The text of the committed file `conf/dlba.schema.json`. */
export function configJsonSchemaText(): string {
  return `${JSON.stringify(configJsonSchema(), null, 2)}\n`;
}
