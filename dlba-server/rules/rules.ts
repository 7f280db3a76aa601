/**
 * A vserver's rules: made once when the configuration is loaded, gone through for each request. Pure; how often a client has
 * asked is somebody else's to count.
 */
import type { RuleConfig } from "../../conf/schema-rules.ts";
import { hashBytes } from "../hash.ts";
import { allHold, compileCondition, type Asked, type Condition } from "./conditions.ts";
import { both, headerEdits, type HeaderEdits } from "./edits.ts";
import { compileRewriting, type Rewriting } from "./rewriting.ts";

export interface RateLimit {
  /** Tells it from all other limits, on each worker alike. */
  readonly id: number;
  readonly requests: number;
  readonly period_ms: number;
}

export interface Rule {
  readonly conditions: readonly Condition[];
  readonly rateLimit: RateLimit | undefined;
  /** `page` is HTML whose char codes are bytes; with `isLast` the connection ends. */
  readonly deny:
    | { readonly status: number; readonly page: string | undefined; readonly isLast: boolean }
    | undefined;
  readonly redirect: { readonly status: number; readonly to: string } | undefined;
  /** An index into the vserver's pools; -1: not decided here. */
  readonly pool: number;
  readonly rewriting: Rewriting | undefined;
  readonly host: string | undefined;
  readonly requestEdits: HeaderEdits | undefined;
  readonly responseEdits: HeaderEdits | undefined;
}

export interface Rules {
  readonly list: readonly Rule[];
  /** Some rule looks at paths or changes them: a path that can be read in two ways is refused. */
  readonly areOfPaths: boolean;
}

/** What compiling asks of its surroundings. */
export interface RuleParts {
  /** Of the vserver. */
  readonly name: string;
  /** Index of a pool among those of the vserver. */
  readonly poolIndex: (name: string) => number;
  readonly readPage: (file: string) => string;
}

/** The rules of a configuration that has been checked; null when there are none. */
export function compileRules(configs: readonly RuleConfig[], parts: RuleParts): Rules | null {
  if (configs.length === 0) return null;
  const list = configs.map((config, index) => compileRule(config, index, parts));
  const areOfPaths = list.some(
    ({ conditions, rewriting }) => rewriting !== undefined || conditions.some(({ of }) => of === "path"),
  );
  return { list, areOfPaths };
}

function compileRule(config: RuleConfig, index: number, { name, poolIndex, readPage }: RuleParts): Rule {
  const { when, rate_limit, deny, redirect, pool, rewrite, request_headers, response_headers } = config;
  return {
    conditions: when.map(compileCondition).sort((a, b) => costOf(a) - costOf(b)),
    rateLimit: rate_limit && compileLimit(rate_limit, `${name}/${index}`),
    deny: deny && {
      status: deny.status,
      page: deny.page === undefined ? undefined : readPage(deny.page),
      isLast: false,
    },
    redirect,
    pool: pool === undefined ? -1 : poolIndex(pool),
    rewriting: rewrite && compileRewriting(rewrite),
    host: rewrite?.host,
    requestEdits: request_headers && headerEdits(request_headers),
    responseEdits: response_headers && headerEdits(response_headers),
  };
}

/** Who changes a limit lets everyone begin anew. */
function compileLimit({ requests, per_s }: NonNullable<RuleConfig["rate_limit"]>, place: string): RateLimit {
  const identity = Buffer.from(`${place}/${requests}/${per_s}`, "latin1");
  return { id: hashBytes(identity, 0, identity.length), requests, period_ms: per_s * 1000 };
}

/** All of a rule's conditions must hold, so the cheap ones are looked at first. */
function costOf({ of, regexes }: Condition): number {
  const looksUp = of === "header" || of === "query";
  return (looksUp ? 1 : 0) + (regexes.length > 0 ? 2 : 0);
}

/** The rules of a connection that is one too many of its client's. */
export const TOO_MANY_CONNECTIONS: Rules = {
  list: [
    {
      conditions: [],
      rateLimit: undefined,
      deny: { status: 429, page: undefined, isLast: true },
      redirect: undefined,
      pool: -1,
      rewriting: undefined,
      host: undefined,
      requestEdits: undefined,
      responseEdits: undefined,
    },
  ],
  areOfPaths: false,
};

/** What the rules make of a request. */
export interface Decision {
  /** The rule that decided; -1: none did. */
  rule: number;
  /** The client has asked too often: it may do so again after this time. 0: it hasn't. */
  retry_ms: number;
  pool: number;
  readonly rewritings: Rewriting[];
  host: string | undefined;
  requestEdits: HeaderEdits | undefined;
  responseEdits: HeaderEdits | undefined;
}

/** One for all requests: good until the next decision. */
const decision: Decision = {
  rule: -1,
  retry_ms: 0,
  pool: 0,
  rewritings: [],
  host: undefined,
  requestEdits: undefined,
  responseEdits: undefined,
};

/**
 * Goes through the rules in order. Changes add up until a rule decides or a limit is reached. `take` counts a request for a
 * rule's limit: 0 when it is within, else the time until the next one is, in ms.
 */
export function decide(rules: Rules, asked: Asked, take: (rule: number) => number): Decision {
  clear();
  for (let index = 0; index < rules.list.length; index++) {
    const rule = rules.list[index]!;
    if (!allHold(rule.conditions, asked)) continue;
    if (rule.rateLimit !== undefined) decision.retry_ms = take(index);
    if (decision.retry_ms > 0) break;
    collect(rule);
    if (rule.deny === undefined && rule.redirect === undefined && rule.pool === -1) continue;
    decision.rule = index;
    if (rule.pool !== -1) decision.pool = rule.pool;
    break;
  }
  return decision;
}

function clear(): void {
  decision.rule = -1;
  decision.retry_ms = 0;
  decision.pool = 0;
  decision.rewritings.length = 0;
  decision.host = undefined;
  decision.requestEdits = undefined;
  decision.responseEdits = undefined;
}

function collect({ rewriting, host, requestEdits, responseEdits }: Rule): void {
  if (rewriting !== undefined) decision.rewritings.push(rewriting);
  if (host !== undefined) decision.host = host;
  if (requestEdits !== undefined) decision.requestEdits = both(decision.requestEdits, requestEdits);
  if (responseEdits !== undefined) decision.responseEdits = both(decision.responseEdits, responseEdits);
}
