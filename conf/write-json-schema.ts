/** Writes conf/dlba.schema.json anew: `npm run build:schema`. */
import { writeFileSync } from "node:fs";
import { configJsonSchemaText } from "./json-schema.ts";

writeFileSync(new URL("dlba.schema.json", import.meta.url), configJsonSchemaText());
