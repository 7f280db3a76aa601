/** Paths that rules rewrite, and where redirects lead. Pure. */
import type { RuleConfig } from "../../conf/schema-rules.ts";
import { normalPath, type NormalPath } from "../http/path.ts";
import { bytesText, knownRegex } from "./conditions.ts";

export type Rewriting =
  | { readonly kind: "prefix"; readonly prefix: string; readonly to: string }
  | { readonly kind: "regex"; readonly regex: RegExp; readonly to: string };

/** What a rule that has been checked does with paths; undefined when it leaves them. */
export function compileRewriting({
  prefix,
  regex,
  to,
}: NonNullable<RuleConfig["rewrite"]>): Rewriting | undefined {
  if (to === undefined) return undefined;
  if (regex !== undefined) return { kind: "regex", regex: knownRegex(regex), to };
  return { kind: "prefix", prefix: bytesText(prefix ?? ""), to };
}

/**
 * A path (as a request has it, without query) after a rewriting; the same text when it doesn't fit. What is not replaced keeps its
 * spelling. Undefined when the result could be read in two ways.
 */
export function rewritten(path: string, rewriting: Rewriting): string | undefined {
  const normal = normalPath(path);
  if (normal === undefined) return undefined;
  const { decoded, spelling } = normal;
  if (rewriting.kind === "prefix") {
    const { prefix, to } = rewriting;
    return decoded.startsWith(prefix) ? wellFormed(to + spelling.slice(prefix.length).join("")) : path;
  }
  const found = rewriting.regex.exec(decoded);
  if (found === null) return path;
  const end = found.index + found[0].length;
  const groupAt = (digit: string): string => spelled(normal, found[Number(digit)] ?? "", found.index);
  const instead = rewriting.to.replace(/\$(\d)/g, (_, digit: string) => groupAt(digit));
  return wellFormed(spelling.slice(0, found.index).join("") + instead + spelling.slice(end).join(""));
}

/** What was found, as the request spells it where it stands first: wherever it stands, it is the same text. */
function spelled({ decoded, spelling }: NormalPath, text: string, from: number): string {
  const at = decoded.indexOf(text, from);
  return spelling.slice(at, at + text.length).join("");
}

/** What was put together may have new dot segments and double slashes. */
const wellFormed = (path: string): string | undefined =>
  normalPath(path.startsWith("/") ? path : `/${path}`)?.spelling.join("");

/** What stands in a redirect's target for the request's own parts. */
export interface Target {
  readonly host: string;
  readonly path: string;
  readonly query: string;
}

/** Where a redirect leads; all parts are such as may stand in a head. */
export function redirectTarget(to: string, { host, path, query }: Target): string {
  return to.replace(/\{(host|path|query)\}/g, (_, part: string) =>
    part === "host" ? host : part === "path" ? path : query,
  );
}
