/** Values of unknown shape, as they come out of YAML and JSON. */

/** Whether a value is an object or a list, so that it may be asked for keys. */
export function isRecord(value: unknown): value is Record<string | number, unknown> {
  return typeof value === "object" && value !== null;
}

/** The value of a JSON text; undefined when it is not JSON. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}
