/**
 * What the checks between the parts of a configuration share: drafts of it, and how equal entries are found. Pure.
 */
import { parseIp } from "./address.ts";
import type { ConfigPath, Finding } from "./config-error.ts";
import { pathText } from "./config-error.ts";
import type { Config } from "./schema.ts";

/** A value of which any part may be absent. */
export type Draft<T> = T extends readonly (infer Item)[]
  ? readonly (Draft<Item> | undefined)[]
  : T extends object
    ? { readonly [Key in keyof T]?: Draft<T[Key]> | undefined }
    : T;

export type ConfigDraft = Draft<Config>;

/** A value that must be nobody else's, and where it stands. */
export interface Named {
  readonly key: string | number | undefined;
  readonly path: ConfigPath;
}

/** Every entry whose key an earlier one has: `what` names it, e.g. "node number". */
export function duplicates(what: string, entries: readonly Named[], advice: string): Finding[] {
  const first = new Map<string | number, ConfigPath>();
  const found: Finding[] = [];
  for (const { key, path } of entries) {
    if (key === undefined) continue;
    const earlier = first.get(key);
    if (earlier === undefined) first.set(key, path);
    else {
      const message = `${what} ${key} is already that of ${pathText(earlier)}`;
      found.push({ path, message, hint: advice });
    }
  }
  return found;
}

type List<T> = readonly (T | undefined)[] | undefined;

/** One entry for each item of a list: the value of `field`, read by `keyOf`. */
export function entriesOf<T>(
  list: List<T>,
  at: ConfigPath,
  field: string,
  keyOf: (item: T) => string | number | undefined,
): Named[] {
  return (list ?? []).map((item, i) => {
    const key = item === undefined ? undefined : keyOf(item);
    return { key, path: at.concat(i, field) };
  });
}

/** One text per address, however it was written. */
export function canonicalIp(text: string | undefined): string | undefined {
  return text === undefined ? undefined : parseIp(text)?.text;
}
