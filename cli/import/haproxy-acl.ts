/**
 * HAProxy's conditions as ours. What depends on the listener alone (TLS or not, its port) is decided when the vserver is made.
 * An expression becomes alternatives, each a list of conditions that all have to hold. Pure.
 */
import { parseCidr } from "../../conf/address.ts";
import type { ConditionInput } from "../../conf/schema-rules.ts";

/** What is known of a vserver when its rules are made. */
export interface Place {
  readonly isTls: boolean;
  readonly ports: readonly number[];
}

/** Something that holds or not; undefined: it can't be said of all of a vserver's requests. */
type Constant = (place: Place) => boolean | undefined;
type Atom = { readonly condition: ConditionInput } | { readonly constant: Constant };
/** One of the atoms has to hold, or with `not` none of them. */
interface Literal {
  readonly anyOf: readonly Atom[];
  readonly not: boolean;
}
/** What can't be said in our words, and why. */
export interface Unsupported {
  readonly unsupported: string;
}
/** Alternatives of literals that all have to hold. */
export type Expression = readonly (readonly Literal[])[];

const isUnsupported = (atom: Atom | Unsupported): atom is Unsupported => "unsupported" in atom;

export type Acls = ReadonlyMap<string, readonly (Atom | Unsupported)[]>;

/** Of each name, all of its `acl` lines: one that holds is enough. Each comes as its words behind `acl`. */
export function readAcls(lines: readonly (readonly string[])[]): Acls {
  const groups = Map.groupBy(lines, ([name = ""]) => name);
  return new Map([...groups].map(([name, all]) => [name, all.map(([, ...rest]) => readCriterion(rest))]));
}

/** Whether letters' case counted before and does now. */
export function isCaseBlind(words: readonly string[]): boolean {
  return words.includes("-i") && !/^(req\.)?hdr(_\w+)?\(host\)|^method|^src/i.test(words[0] ?? "");
}

export const ALWAYS: Expression = [[]];

/** What follows a keyword: nothing, `if …` or `unless …`. */
export function readExpression(words: readonly string[], acls: Acls): Expression | Unsupported {
  const [first, ...rest] = words;
  if (first === undefined) return ALWAYS;
  if (first !== "if" && first !== "unless") return { unsupported: `'${first}' has no counterpart` };
  const terms: Literal[][] = [[]];
  for (let i = 0; i < rest.length; i++) {
    let word = rest[i]!;
    if (word === "or" || word === "||") {
      terms.push([]);
      continue;
    }
    let not = false;
    while (word.startsWith("!")) {
      not = !not;
      word = word.slice(1) || (rest[++i] ?? "");
    }
    const end = word === "{" ? rest.indexOf("}", i) : i;
    if (end === -1) return { unsupported: "a '{' that nothing closes" };
    const atoms = word === "{" ? [readCriterion(rest.slice(i + 1, end))] : atomsOf(word, acls);
    i = end;
    const wrong = atoms.find(isUnsupported);
    if (wrong !== undefined) return wrong;
    terms.at(-1)!.push({ anyOf: atoms.filter((atom): atom is Atom => !isUnsupported(atom)), not });
  }
  return first === "if" ? terms : negated(terms);
}

const METHODS: Readonly<Record<string, readonly string[]>> = {
  METH_GET: ["GET", "HEAD"],
  METH_HEAD: ["HEAD"],
  METH_POST: ["POST"],
  METH_PUT: ["PUT"],
  METH_DELETE: ["DELETE"],
  METH_OPTIONS: ["OPTIONS"],
  METH_CONNECT: ["CONNECT"],
  METH_TRACE: ["TRACE"],
};

function atomsOf(name: string, acls: Acls): readonly (Atom | Unsupported)[] {
  const known = acls.get(name);
  if (known !== undefined) return known;
  const methods = METHODS[name];
  if (methods !== undefined) return [{ condition: { of: "method", exact: [...methods] } }];
  if (name === "TRUE" || name === "HTTP") return [{ constant: () => true }];
  if (name === "FALSE") return [{ constant: () => false }];
  if (name === "LOCALHOST") return [{ condition: { of: "client", in: ["127.0.0.0/8", "::1/128"] } }];
  return [{ unsupported: `there is no acl '${name}'` }];
}

/** By De Morgan: one literal of each term, turned round. */
function negated(terms: readonly (readonly Literal[])[]): Expression | Unsupported {
  let all: Literal[][] = [[]];
  for (const term of terms) {
    all = all.flatMap((soFar) => term.map(({ anyOf, not }) => soFar.concat({ anyOf, not: !not })));
    if (all.length > MOST_ALTERNATIVES) return TOO_MANY;
  }
  return all;
}

const MOST_ALTERNATIVES = 32;
const TOO_MANY: Unsupported = { unsupported: "the condition has too many alternatives" };

/** The condition lists, one of which has to hold, of a vserver: none when it never holds, an empty list when it always does. */
export function alternatives(expression: Expression, place: Place): ConditionInput[][] | Unsupported {
  const all: ConditionInput[][] = [];
  for (const term of expression) {
    let lists: ConditionInput[][] = [[]];
    for (const literal of term) {
      const options = optionsOf(literal, place);
      if ("unsupported" in options) return options;
      lists = lists.flatMap((list) => options.map((more) => list.concat(more)));
      if (lists.length > MOST_ALTERNATIVES) return TOO_MANY;
    }
    if (lists.some((list) => list.length === 0)) return [[]];
    all.push(...lists);
  }
  return all.length > MOST_ALTERNATIVES ? TOO_MANY : all;
}

/** What one literal comes to: alternatives of conditions that all have to hold. */
function optionsOf({ anyOf, not }: Literal, place: Place): ConditionInput[][] | Unsupported {
  const conditions: ConditionInput[] = [];
  for (const atom of anyOf) {
    if ("condition" in atom) {
      conditions.push(atom.condition);
      continue;
    }
    const holds = atom.constant(place);
    if (holds === undefined)
      return { unsupported: "it depends on the port, and the vserver has several: use one vserver for each" };
    if (holds) return not ? [] : [[]];
  }
  const merged = merge(conditions);
  if (!not) return merged.map((condition) => [condition]);
  return [merged.map((condition) => Object.assign({}, condition, { not: condition.not !== true }))];
}

/** Conditions about the same thing are one: one text that fits is enough. */
function merge(conditions: readonly ConditionInput[]): ConditionInput[] {
  const groups = Map.groupBy(conditions, ({ of, name = "", not = false }) => `${of} ${name} ${not}`);
  return [...groups.values()].flatMap((group) =>
    group.some(isOfPresence) ? group.slice(0, 1).map(({ of, name }) => ({ of, name })) : [joined(group)],
  );
}

const LISTS = ["exact", "prefix", "suffix", "regex", "in"] as const;
const isOfPresence = (condition: ConditionInput): boolean =>
  LISTS.every((key) => condition[key] === undefined);

function joined(group: readonly ConditionInput[]): ConditionInput {
  const all: ConditionInput = { ...group[0]! };
  for (const key of LISTS) {
    const values = group.flatMap((condition) => condition[key] ?? []);
    if (values.length > 0) all[key] = [...new Set(values)];
  }
  return all;
}

type Test = "exact" | "prefix" | "suffix" | "regex" | "sub" | "dom" | "dir" | "found";
const TESTS: Readonly<Record<string, Test>> = {
  str: "exact",
  beg: "prefix",
  end: "suffix",
  reg: "regex",
  sub: "sub",
  dom: "dom",
  dir: "dir",
  found: "found",
};

/** A criterion with its flags and values, as behind an acl's name or between braces. */
function readCriterion(words: readonly string[]): Atom | Unsupported {
  const [criterion = "", ...rest] = words;
  const [, fetch = "", argument = "", converters = ""] =
    /^([\w.]+)(?:\(([^)]*)\))?((?:,.*)?)$/.exec(criterion) ?? [];
  if (!["", ",lower"].includes(converters)) return no(criterion);
  const { method, values, isFromFile } = readFlags(rest);
  if (isFromFile) return { unsupported: "its values are in a file: write them into the rule" };
  const [, base = fetch, suffix] = /^(.*)_(beg|end|reg|sub|dom|dir)$/.exec(fetch) ?? [];
  const test = TESTS[method ?? suffix ?? "str"];
  if (test === undefined) return no(criterion);
  switch (base.replace(/^req\./, "")) {
    case "path":
    case "url":
    case "base":
      return base === "base" ? no(criterion) : textAtom({ of: "path" }, test, values);
    case "hdr":
    case "fhdr":
      if (argument === "") return no(criterion);
      return argument.toLowerCase() === "host"
        ? textAtom({ of: "host" }, test, values.map(withoutPort))
        : textAtom({ of: "header", name: argument }, test, values);
    case "hdr_cnt":
      return ["gt 0", "ge 1"].includes(values.join(" "))
        ? { condition: { of: "header", name: argument } }
        : no(criterion);
    case "method":
      return textAtom({ of: "method" }, test, values);
    case "url_param":
    case "urlp":
      return textAtom({ of: "query", name: argument.split(",")[0] ?? "" }, test, values);
    case "cook":
      return cookieAtom(argument, test, values);
    case "src":
      return values.every((value) => parseCidr(value) !== undefined)
        ? { condition: { of: "client", in: [...values] } }
        : { unsupported: "not all of its addresses are blocks such as 192.0.2.0/24" };
    case "ssl_fc":
      return { constant: ({ isTls }) => isTls };
    case "dst_port":
      return portAtom(values, criterion);
    case "always_true":
      return { constant: () => true };
    case "always_false":
      return { constant: () => false };
    default:
      return no(criterion);
  }
}

const no = (criterion: string): Unsupported => ({ unsupported: `rules can't ask for '${criterion}'` });

function readFlags(words: readonly string[]): { method?: string; values: string[]; isFromFile: boolean } {
  let method: string | undefined;
  let isFromFile = false;
  let i = 0;
  for (; i < words.length && words[i]!.startsWith("-"); i++) {
    if (words[i] === "--") {
      i++;
      break;
    }
    if (words[i] === "-m") method = words[++i];
    else if (words[i] === "-f") isFromFile = true;
    else if (words[i] === "-u") i++;
  }
  return { ...(method === undefined ? {} : { method }), values: words.slice(i), isFromFile };
}

const withoutPort = (host: string): string => host.replace(/:\d+$/, "");
const escaped = (text: string): string => text.replaceAll(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`);

function textAtom(
  subject: Pick<ConditionInput, "of" | "name">,
  test: Test,
  values: readonly string[],
): Atom | Unsupported {
  if (test === "found") return { condition: subject };
  if (values.length === 0) return { unsupported: "it has no values" };
  const regex = (form: (text: string) => string): Atom => ({
    condition: { ...subject, regex: values.map((value) => form(escaped(value))) },
  });
  if (test === "sub") return regex((text) => text);
  if (test === "dom") return regex((text) => String.raw`(^|[./?:])${text}($|[./?:])`);
  if (test === "dir") return regex((text) => `(^|/)${text}($|/)`);
  return { condition: { ...subject, [test]: [...values] } };
}

function cookieAtom(name: string, test: Test, values: readonly string[]): Atom | Unsupported {
  const cookie = { of: "header" as const, name: "Cookie" };
  const before = String.raw`(^|;\s*)${escaped(name)}=`;
  if (test === "found") return { condition: { ...cookie, regex: [before] } };
  if (test !== "exact") return { unsupported: "rules compare whole cookies alone" };
  return { condition: { ...cookie, regex: values.map((value) => `${before}${escaped(value)}(;|$)`) } };
}

function portAtom(values: readonly string[], criterion: string): Atom | Unsupported {
  const ports = values.filter((value) => value !== "eq").map(Number);
  if (ports.some((port) => !Number.isInteger(port))) return no(criterion);
  return {
    constant: (place) => {
      const among = place.ports.filter((port) => ports.includes(port)).length;
      return among === place.ports.length ? true : among === 0 ? false : undefined;
    },
  };
}
