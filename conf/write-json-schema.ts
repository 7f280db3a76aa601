/** Writes conf/dlba.schema.json and the reference in docs/configuration.md anew: `npm run build:schema`. */
import { readFileSync, writeFileSync } from "node:fs";
import { configJsonSchemaText } from "./json-schema.ts";
import { withReference } from "./reference.ts";

writeFileSync(new URL("dlba.schema.json", import.meta.url), configJsonSchemaText());
const document = new URL("../docs/configuration.md", import.meta.url);
writeFileSync(document, withReference(readFileSync(document, "utf8")));
