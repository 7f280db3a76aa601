/** What must hold of a vserver's rules: conditions that can be met, actions that have an effect, heads that stay whole. Pure. */
import type { ConfigPath, Finding } from "./config-error.ts";
import { pathText } from "./config-error.ts";
import type { ConfigDraft, Draft } from "./draft.ts";
import { MAX_RULES_HEAD_BYTES, MAX_RULES_REGEX_CHARACTERS } from "./limits.ts";
import { groupsOf, linearRegex } from "./regex.ts";
import type { VserverConfig } from "./schema.ts";
import type { ConditionConfig, HeaderEditsConfig, RuleConfig } from "./schema-rules.ts";
import { unknownPool } from "./semantics-pools.ts";
import { listOf } from "./suggest.ts";

type VserverDraft = Draft<VserverConfig>;
type RuleDraft = Draft<RuleConfig>;
type ConditionDraft = Draft<ConditionConfig>;
type EditsDraft = Draft<HeaderEditsConfig>;

/** Everything that is wrong with the rules of a proxied vserver; `at` is where it stands. */
export function checkRules(vserver: VserverDraft, at: ConfigPath, pools: ConfigDraft["pools"]): Finding[] {
  const path = [...at, "rules"];
  const rules = vserver.rules ?? [];
  const found = rules.flatMap((rule, i) => (rule === undefined ? [] : checkRule(rule, [...path, i], pools)));
  return [
    ...found,
    ...checkReach(rules, path),
    ...checkTotals(rules, path),
    ...checkCookies(vserver, path, pools),
  ];
}

function checkRule(rule: RuleDraft, at: ConfigPath, pools: ConfigDraft["pools"]): Finding[] {
  return [
    ...(rule.when ?? []).flatMap((condition, i) =>
      condition === undefined ? [] : checkCondition(condition, [...at, "when", i]),
    ),
    ...checkActions(rule, at),
    ...checkRulePool(rule, [...at, "pool"], pools),
    ...checkRedirect(rule, [...at, "redirect", "to"]),
    ...checkRewrite(rule.rewrite, [...at, "rewrite"]),
    ...checkEdits(rule.request_headers, [...at, "request_headers"], REQUEST_PROTECTED),
    ...checkEdits(rule.response_headers, [...at, "response_headers"], RESPONSE_PROTECTED),
  ];
}

const TESTS = ["exact", "prefix", "suffix", "regex"] as const;
const isNamed = (of: ConditionDraft["of"]): boolean => of === "header" || of === "query";

function checkCondition(condition: ConditionDraft, at: ConfigPath): Finding[] {
  const { of } = condition;
  if (of === undefined) return [];
  const found: Finding[] = [];
  const refuse = (key: string, message: string, hint: string): void => {
    found.push({ path: [...at, key], isAtKey: true, message, hint });
  };
  const tests = TESTS.filter((key) => key in condition);
  if (isNamed(of) && !("name" in condition)) {
    const message = `missing key 'name' in ${pathText(at)}`;
    found.push({
      path: [...at, "name"],
      message,
      hint: `say which ${of === "query" ? "parameter" : "header"}`,
    });
  }
  if (!isNamed(of) && condition.name !== undefined)
    refuse("name", `a condition of ${of} has no name`, "remove it, or use of: header or of: query");
  if (of === "client") {
    for (const key of tests)
      refuse(key, `a condition of client has no ${key}`, "use in, with address blocks");
    if (!("in" in condition)) {
      const message = `missing key 'in' in ${pathText(at)}`;
      found.push({ path: [...at, "in"], message, hint: "give the address blocks of the clients" });
    }
  } else {
    if (condition.in !== undefined) refuse("in", `a condition of ${of} has no in`, "use of: client");
    if (tests.length === 0 && !isNamed(of))
      found.push({ path: at, message: `${pathText(at)} asks nothing`, hint: `add ${listOf(TESTS, "or")}` });
  }
  return [...found, ...checkTexts(condition, at), ...checkRegexes(condition.regex, [...at, "regex"])];
}

/** Texts that what is looked at never has. */
function checkTexts(condition: ConditionDraft, at: ConfigPath): Finding[] {
  const found: Finding[] = [];
  for (const key of ["exact", "prefix", "suffix"] as const) {
    for (const [i, text] of (condition[key] ?? []).entries()) {
      const fault = text === undefined ? undefined : faultOfText(condition.of, key, text);
      if (fault === undefined) continue;
      found.push({ path: [...at, key, i], message: `${JSON.stringify(text)} ${fault.is}`, hint: fault.hint });
    }
  }
  return found;
}

interface Fault {
  readonly is: string;
  readonly hint: string;
}

function faultOfText(of: ConditionDraft["of"], key: string, text: string): Fault | undefined {
  if (of === "path") return faultOfPath(text, key !== "suffix");
  if (of === "host" && /[:*]/.test(text) && !text.startsWith("["))
    return { is: "is no part of a host", hint: "leave the port out; for all hosts of a level use suffix" };
  if (of === "host" && text.endsWith(".") && key !== "prefix")
    return { is: "ends with a dot", hint: "hosts are compared without the final dot" };
  if (of === "method" && !/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(text))
    return { is: "is no method", hint: "use a method such as GET" };
  return undefined;
}

function faultOfPath(text: string, isFromStart: boolean): Fault | undefined {
  if (isFromStart && !text.startsWith("/"))
    return { is: "doesn't begin with /", hint: "paths do; regex finds things inside of them" };
  if (/%[0-9A-Fa-f]{2}/.test(text))
    return { is: "is percent-encoded", hint: "write the characters themselves: paths are compared decoded" };
  if (/\/\/|\/\.\.?(\/|$)/.test(text) && isFromStart)
    return { is: "is not in normal form", hint: "leave out empty, '.' and '..' segments" };
  if (/[?#]/.test(text))
    return { is: "is no part of a path", hint: "use of: query for what follows the question mark" };
  return undefined;
}

function checkRegexes(patterns: ConditionDraft["regex"], at: ConfigPath): Finding[] {
  return (patterns ?? []).flatMap((pattern, i) =>
    pattern === undefined ? [] : checkRegex(pattern, [...at, i]),
  );
}

function checkRegex(pattern: string, path: ConfigPath): Finding[] {
  const regex = linearRegex(pattern);
  if (typeof regex !== "string") return [];
  const message = `the regular expression ${JSON.stringify(pattern)} can't be used: ${regex}`;
  return [{ path, message, hint: "use one without that" }];
}

/** One rule decides one thing, and does nothing that nobody sees. */
function checkActions(rule: RuleDraft, at: ConfigPath): Finding[] {
  const ends = (["deny", "redirect", "pool"] as const).filter((key) => key in rule);
  const changes = (["rewrite", "request_headers"] as const).filter((key) => key in rule);
  const others = (["rate_limit", "response_headers"] as const).filter((key) => key in rule);
  if (ends.length + changes.length + others.length === 0) {
    const hint = "add deny, redirect, pool, rewrite, request_headers, response_headers or rate_limit";
    return [{ path: at, message: `${pathText(at)} does nothing`, hint }];
  }
  const [first, second] = ends;
  if (second !== undefined) {
    const message = `a rule with '${first}' has no '${second}': the first one ends the rules`;
    return [{ path: [...at, second], isAtKey: true, message, hint: "use two rules" }];
  }
  if (first === undefined || first === "pool") return [];
  return changes.map((key): Finding => {
    const message = `'${key}' has no effect in a rule with '${first}': no web server is asked`;
    return { path: [...at, key], isAtKey: true, message, hint: "remove it" };
  });
}

function checkRulePool(rule: RuleDraft, path: ConfigPath, pools: ConfigDraft["pools"]): Finding[] {
  if (rule.pool === undefined || pools === undefined) return [];
  const pool = pools.find((pool) => pool?.name === rule.pool);
  if (pool?.scheduling === "direct") {
    const message = `pool '${rule.pool}' is direct, and a direct pool serves tcp and udp alone`;
    return [{ path, message, hint: "name a pool with scheduling cookie or url-hash" }];
  }
  return unknownPool(rule.pool, path, pools);
}

/** A host that stands fast, or the request's own; and no path of the client's where a host could be read. */
const TARGET =
  /^(https?:\/\/(\{host\}|[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:\d{1,5})?(?=$|[/?]|\{path\}|\{query\})|\/(?![/\\{]))/;

function checkRedirect(rule: RuleDraft, path: ConfigPath): Finding[] {
  const to = rule.redirect?.to;
  if (to === undefined) return [];
  const unknown = /\{(?!(host|path|query)\})[^}]*\}?/.exec(to)?.[0];
  if (unknown !== undefined) {
    return [{ path, message: `${unknown} is nothing known`, hint: "there are {host}, {path} and {query}" }];
  }
  if (TARGET.test(to)) return [];
  const message = `a client could choose the host that ${JSON.stringify(to)} leads to, or there is none`;
  return [
    { path, message, hint: "begin with https://{host}, with http:// or https:// and a host, or with a path" },
  ];
}

function checkRewrite(rewrite: RuleDraft["rewrite"], at: ConfigPath): Finding[] {
  if (rewrite === undefined) return [];
  const found: Finding[] = [];
  const fault = (key: string, message: string, hint: string): void => {
    found.push({ path: [...at, key], isAtKey: true, message, hint });
  };
  const hasPart = "prefix" in rewrite || "regex" in rewrite;
  if ("prefix" in rewrite && "regex" in rewrite)
    fault("regex", "a rewrite has either a prefix or a regex", "remove one");
  if (hasPart !== "to" in rewrite) {
    const key = hasPart ? "to" : "prefix";
    const message = `missing key '${key}' in ${pathText(at)}`;
    found.push({ path: [...at, key], message, hint: "a path is rewritten from prefix or regex to to" });
  }
  if (!hasPart && !("to" in rewrite) && !("host" in rewrite))
    found.push({
      path: at,
      message: `${pathText(at)} does nothing`,
      hint: "add prefix or regex with to, or host",
    });
  const prefix = rewrite.prefix === undefined ? undefined : faultOfPath(rewrite.prefix, true);
  if (prefix !== undefined) fault("prefix", `${JSON.stringify(rewrite.prefix)} ${prefix.is}`, prefix.hint);
  return [...found, ...checkRewriteTo(rewrite, [...at, "to"]), ...checkRewriteRegex(rewrite, at)];
}

function checkRewriteTo({ to }: NonNullable<RuleDraft["rewrite"]>, path: ConfigPath): Finding[] {
  if (to === undefined || !/\/\/|\/\.\.?(\/|$)|[?#\\]|%(?![0-9A-Fa-f]{2})/.test(to)) return [];
  const hint = "leave out empty, '.' and '..' segments, '?', '#' and '\\', and write '%' as %25";
  return [{ path, message: `${JSON.stringify(to)} is no path in normal form`, hint }];
}

function checkRewriteRegex({ regex, to }: NonNullable<RuleDraft["rewrite"]>, at: ConfigPath): Finding[] {
  if (regex === undefined) return [];
  const found = checkRegex(regex, [...at, "regex"]);
  if (found.length > 0 || to === undefined) return found;
  const groups = groupsOf(regex);
  const missing = [...to.matchAll(/\$(\d)/g)]
    .map(([, digit]) => Number(digit))
    .find((group) => group > groups);
  if (missing === undefined) return [];
  const message = `${JSON.stringify(to)} names group ${missing}, and the regex has ${groups}`;
  return [{ path: [...at, "to"], message, hint: "use ( ) in the regex for each group" }];
}

const HOP_BY_HOP = [
  "connection",
  "content-length",
  "keep-alive",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
];
const BY_ITSELF = "the proxy writes it, and must";
const REQUEST_PROTECTED = new Map([
  ...[...HOP_BY_HOP, "http2-settings", "expect"].map((name) => [name, BY_ITSELF] as const),
  ["host", "use rewrite with host"],
  ...["forwarded", "via", "x-request-id"].map((name) => [name, "the proxy writes it"] as const),
]);
const RESPONSE_PROTECTED = new Map([...HOP_BY_HOP, "via"].map((name) => [name, BY_ITSELF] as const));
const FORWARDED = "x-forwarded-";

/** Headers that say where a message ends and for whom it is, whatever way they are spelled. */
function checkEdits(
  edits: EditsDraft | undefined,
  at: ConfigPath,
  taken: ReadonlyMap<string, string>,
): Finding[] {
  if (edits === undefined) return [];
  const named = [
    ...(edits.remove ?? []).map((name, i) => ({ name, path: [...at, "remove", i] })),
    ...(["set", "add"] as const).flatMap((key) =>
      (edits[key] ?? []).map((line, i) => ({ name: line?.name, path: [...at, key, i, "name"] })),
    ),
  ];
  if (named.length === 0)
    return [{ path: at, message: `${pathText(at)} changes nothing`, hint: "add remove, set or add" }];
  return named.flatMap(({ name, path }): Finding[] => {
    const plain = name?.toLowerCase().replaceAll("_", "-") ?? "";
    const isForwarded = taken === REQUEST_PROTECTED && plain.startsWith(FORWARDED);
    const hint = isForwarded ? "trusted_proxies says whose word on it is kept" : taken.get(plain);
    return hint === undefined ? [] : [{ path, message: `rules can't change the header ${name}`, hint }];
  });
}

/** A rule that no request gets to is a mistake. */
function checkReach(rules: readonly (RuleDraft | undefined)[], path: ConfigPath): Finding[] {
  const last = rules.findIndex(
    (rule) => rule?.when?.length === 0 && (rule.deny ?? rule.redirect ?? rule.pool) !== undefined,
  );
  if (last === -1 || last === rules.length - 1) return [];
  const message = `no request gets to this rule: ${pathText([...path, last])} decides always`;
  return [{ path: [...path, last + 1], message, hint: "give that one a condition, or put it last" }];
}

/** Bounds on all rules of a vserver together: any of them may apply to one request. */
function checkTotals(rules: readonly (RuleDraft | undefined)[], path: ConfigPath): Finding[] {
  const found: Finding[] = [];
  const totals = { request_headers: 0, response_headers: 0, regex: 0 };
  for (const [i, rule] of rules.entries()) {
    const before = { ...totals };
    totals.request_headers += addedBytes(rule?.request_headers) + (rule?.rewrite?.host?.length ?? 0);
    totals.response_headers += addedBytes(rule?.response_headers);
    totals.regex += regexCharacters(rule);
    for (const key of ["request_headers", "response_headers"] as const) {
      if (totals[key] <= MAX_RULES_HEAD_BYTES || before[key] > MAX_RULES_HEAD_BYTES) continue;
      const message = `up to here the ${key} of all rules have ${totals[key]} bytes`;
      found.push({ path: [...path, i], message, hint: `expected ${MAX_RULES_HEAD_BYTES} at most` });
    }
    if (totals.regex <= MAX_RULES_REGEX_CHARACTERS || before.regex > MAX_RULES_REGEX_CHARACTERS) continue;
    const message = `up to here the regular expressions of all rules have ${totals.regex} characters`;
    found.push({ path: [...path, i], message, hint: `expected ${MAX_RULES_REGEX_CHARACTERS} at most` });
  }
  return found;
}

function addedBytes(edits: EditsDraft | undefined): number {
  let bytes = 0;
  for (const line of [...(edits?.set ?? []), ...(edits?.add ?? [])])
    bytes += (line?.name?.length ?? 0) + (line?.value?.length ?? 0) + 4;
  return bytes;
}

function regexCharacters(rule: RuleDraft | undefined): number {
  let characters = rule?.rewrite?.regex?.length ?? 0;
  for (const condition of rule?.when ?? [])
    for (const pattern of condition?.regex ?? []) characters += pattern?.length ?? 0;
  return characters;
}

/** Two pools with one cookie would take each other's clients from their web servers. */
function checkCookies(vserver: VserverDraft, path: ConfigPath, pools: ConfigDraft["pools"]): Finding[] {
  const found: Finding[] = [];
  const byCookie = new Map<string, string>();
  const note = (name: string | undefined, place: ConfigPath): void => {
    const pool = pools?.find((pool) => pool?.name !== undefined && pool.name === name);
    if (pool?.scheduling !== "cookie" || pool.cookie === undefined || name === undefined) return;
    const other = byCookie.get(pool.cookie);
    if (other === undefined) byCookie.set(pool.cookie, name);
    else if (other !== name) {
      const message = `pools '${other}' and '${name}' of one vserver have the same cookie '${pool.cookie}'`;
      found.push({ path: place, message, hint: "give each of them a cookie of its own" });
    }
  };
  note(vserver.pool, path);
  for (const [i, rule] of (vserver.rules ?? []).entries()) note(rule?.pool, [...path, i, "pool"]);
  return found;
}
