/** What rules ask of a request. Pure. */
import { cidrContains, parseCidr, type Cidr, type IpAddress } from "../../conf/address.ts";
import { DlbaError } from "../../conf/errors.ts";
import { linearRegex } from "../../conf/regex.ts";
import type { ConditionConfig } from "../../conf/schema-rules.ts";

/** A request, as rules see it. Texts' char codes are bytes. */
export interface Asked {
  readonly method: string;
  /** In lower case, without port and final dot. */
  readonly host: string;
  /** In normal form. */
  readonly path: string;
  /** With its question mark; "" without one. */
  readonly query: string;
  readonly client: IpAddress | undefined;
  /** The value of a header by its lower-case name, several lines joined by ", "; undefined without one. */
  readonly header: (name: string) => string | undefined;
}

export interface Condition {
  readonly of: ConditionConfig["of"];
  readonly name: string;
  readonly isNegated: boolean;
  /** Its being there is enough. */
  readonly isOfPresence: boolean;
  readonly exact: ReadonlySet<string>;
  readonly prefixes: readonly string[];
  readonly suffixes: readonly string[];
  readonly regexes: readonly RegExp[];
  readonly blocks: readonly Cidr[];
}

/** A text of the configuration as requests have it: each char code a byte of its UTF-8. */
export const bytesText = (text: string): string => Buffer.from(text, "utf8").toString("latin1");

/** An expression that has been checked. */
export function knownRegex(pattern: string): RegExp {
  const regex = linearRegex(pattern);
  if (typeof regex === "string") throw new DlbaError("REGEX_INVALID", `${pattern}: ${regex}`);
  return regex;
}

/** A condition of a configuration that has been checked. */
export function compileCondition(condition: ConditionConfig): Condition {
  const { of, name = "", exact, prefix, suffix, regex } = condition;
  const textFor = (text: string): string => (of === "host" ? bytesText(text).toLowerCase() : bytesText(text));
  return {
    of,
    name: of === "header" ? name.toLowerCase() : bytesText(name),
    isNegated: condition.not,
    isOfPresence: exact === undefined && prefix === undefined && suffix === undefined && regex === undefined,
    exact: new Set((exact ?? []).map(textFor)),
    prefixes: (prefix ?? []).map(textFor),
    suffixes: (suffix ?? []).map(textFor),
    regexes: (regex ?? []).map(knownRegex),
    blocks: (condition.in ?? []).flatMap((block) => parseCidr(block) ?? []),
  };
}

function fits(condition: Condition, text: string): boolean {
  if (condition.isOfPresence || condition.exact.has(text)) return true;
  for (const prefix of condition.prefixes) if (text.startsWith(prefix)) return true;
  for (const suffix of condition.suffixes) if (text.endsWith(suffix)) return true;
  for (const regex of condition.regexes) if (regex.test(text)) return true;
  return false;
}

/** "+" and percent-encoding taken off, as forms are encoded; what is no escape stays as it is. */
function decoded(text: string): string {
  if (!/[%+]/.test(text)) return text;
  const spaced = text.replaceAll("+", " ");
  return spaced.replace(/%([0-9A-Fa-f]{2})/g, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 16)),
  );
}

/** Whether any parameter of this name fits: web servers differ in which of several counts. */
function fitsQuery(condition: Condition, query: string): boolean {
  if (query.length < 2) return false;
  return query
    .slice(1)
    .split("&")
    .some((part) => {
      const equals = part.indexOf("=");
      const name = decoded(equals === -1 ? part : part.slice(0, equals));
      return name === condition.name && fits(condition, equals === -1 ? "" : decoded(part.slice(equals + 1)));
    });
}

function isMet(condition: Condition, asked: Asked): boolean {
  switch (condition.of) {
    case "host":
      return fits(condition, asked.host);
    case "path":
      return fits(condition, asked.path);
    case "method":
      return fits(condition, asked.method);
    case "header": {
      const value = asked.header(condition.name);
      return value !== undefined && fits(condition, value);
    }
    case "query":
      return fitsQuery(condition, asked.query);
    case "client": {
      const { client } = asked;
      return client !== undefined && condition.blocks.some((block) => cidrContains(block, client));
    }
  }
}

/** Whether all of these hold of a request. */
export function allHold(conditions: readonly Condition[], asked: Asked): boolean {
  for (const condition of conditions) if (isMet(condition, asked) === condition.isNegated) return false;
  return true;
}
