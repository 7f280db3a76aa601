/** The product's version, as package.json has it. */
import { readFileSync } from "node:fs";
import { isRecord, parseJson } from "./record.ts";

/** Such as `0.1.0`. */
export function productVersion(): string {
  const found = parseJson(readFileSync(new URL("../package.json", import.meta.url), "utf8"));
  return isRecord(found) ? String(found["version"]) : "unknown";
}
