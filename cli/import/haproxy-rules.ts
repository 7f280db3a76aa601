/** Rules of a frontend and of the backends that it chooses, as a vserver's: in the order in which HAProxy looks at them. Pure. */
import type { ConditionInput, RuleInput } from "../../conf/schema-rules.ts";
import {
  type Acls,
  ALWAYS,
  alternatives,
  type Expression,
  isCaseBlind,
  type Place,
  readAcls,
  readExpression,
} from "./haproxy-acl.ts";
import { actionOf, type Action, redirectOf } from "./haproxy-actions.ts";
import { nameFor, type Section } from "./haproxy-lines.ts";
import type { Ledger, Line } from "./notes.ts";

/** A rule, and the line that it stems from. */
export interface SourcedRule {
  readonly rule: RuleInput;
  readonly line: Line;
}

export interface RulesContext {
  readonly place: Place;
  readonly ledger: Ledger;
  readonly backends: ReadonlyMap<string, Section>;
}

type Conditions = readonly ConditionInput[];

/** Everything that decides about a request of a frontend, for one of its vservers. `fallback`: its default backend. */
export function rulesOf(
  frontend: Section,
  fallback: Section | undefined,
  context: RulesContext,
): SourcedRule[] {
  const acls = aclsOf(frontend, context.ledger);
  const rules: SourcedRule[] = [];
  const add = (rule: RuleInput, line: Line): void => {
    // Nothing gets past a rule that always decides.
    if (!rules.some(({ rule }) => isFinal(rule))) rules.push({ rule, line });
  };
  // HAProxy changes web servers' responses, not its own: what it answers itself is decided before.
  for (const keyword of ["http-request", "redirect", "http-response"]) {
    for (const line of linesWith(frontend, keyword)) addAction(line, acls, [], context, add);
  }
  for (const line of linesWith(frontend, "use_backend")) {
    const [, name = "", ...condition] = line.words;
    const backend = context.backends.get(name);
    if (backend === undefined) {
      context.ledger.note(line, "left-out", backendMissing(name));
      continue;
    }
    for (const when of alternativesOf(line, condition, acls, context) ?? []) {
      addBackend(backend, when, context, add);
      add(withEdits({ ...whenAll(when), pool: nameFor(name) }, backend, context), line);
      context.ledger.take(line);
    }
  }
  if (fallback !== undefined) {
    if (fallback !== frontend) addBackend(fallback, [], context, add);
    const edits = fallback === frontend ? {} : withEdits({}, fallback, context);
    if (Object.keys(edits).length > 0) add(edits, fallback.line);
  }
  return gathered(rules);
}

const whenAll = (when: Conditions): RuleInput => (when.length === 0 ? {} : { when: [...when] });

const backendMissing = (name: string): string =>
  name.includes("%")
    ? "backends that are chosen by an expression have no counterpart: write a rule with pool for each"
    : `there is no backend '${name}', or none that can be taken over`;

const linesWith = ({ lines, inherited }: Section, keyword: string): Line[] =>
  [...inherited, ...lines].filter(({ words }) => words[0] === keyword);

export function aclsOf(section: Section, ledger: Ledger): Acls {
  const lines = linesWith(section, "acl");
  for (const line of lines) {
    ledger.take(line);
    if (isCaseBlind(line.words.slice(2)))
      ledger.note(
        line,
        "differs",
        "letters' case counts now: paths, headers and parameters are compared as they are",
      );
  }
  return readAcls(lines.map(({ words }) => words.slice(1)));
}

function isFinal({ when, deny, redirect, pool }: RuleInput): boolean {
  return (when ?? []).length === 0 && (deny ?? redirect ?? pool) !== undefined;
}

/** The alternatives of what stands behind a keyword; undefined, and said, when they can't be. */
function alternativesOf(
  line: Line,
  words: readonly string[],
  acls: Acls,
  { place, ledger }: RulesContext,
): Conditions[] | undefined {
  const expression: Expression | { unsupported: string } =
    words.length === 0 ? ALWAYS : readExpression(words, acls);
  const found = "unsupported" in expression ? expression : alternatives(expression, place);
  if (!("unsupported" in found)) {
    ledger.take(line);
    return found;
  }
  ledger.note(line, "left-out", found.unsupported);
  return undefined;
}

type Add = (rule: RuleInput, line: Line) => void;

/** A line of http-request, http-response or redirect, under conditions that hold already. */
function addAction(line: Line, acls: Acls, given: Conditions, context: RulesContext, add: Add): void {
  const isResponse = line.words[0] === "http-response";
  const { words } = line;
  const start = words.findIndex((word, i) => i > 0 && (word === "if" || word === "unless"));
  const [body, condition] = start === -1 ? [words, []] : [words.slice(0, start), words.slice(start)];
  const action = body[0] === "redirect" ? redirectOf(body.slice(1)) : actionOf(body);
  if (!tell(action, line, context.ledger)) return;
  const found = alternativesOf(line, condition, acls, context);
  if (found === undefined) return;
  const isConditional = found.some((when) => when.length > 0);
  if (isResponse && isConditional) {
    context.ledger.note(
      line,
      "left-out",
      "rules ask about requests, not about responses: their conditions can't be taken over",
    );
    return;
  }
  if (action.adds === true && found.length > 1) {
    context.ledger.note(
      line,
      "left-out",
      "it would be added once for each alternative that holds: write one rule whose conditions fit all of them",
    );
    return;
  }
  for (const when of found) add({ ...whenAll([...given, ...when]), ...action.rule }, line);
}

/** Says what there is to say about an action; returns whether there is one. */
function tell(action: Action, line: Line, ledger: Ledger): action is Action & { readonly rule: RuleInput } {
  if (action.note !== undefined) ledger.note(line, action.note.kind, action.note.say);
  if (action.rule !== undefined && action.note === undefined) ledger.take(line);
  return action.rule !== undefined;
}

/** What a backend says about requests under conditions of its own, or decides; `when` it is chosen. */
function addBackend(backend: Section, when: Conditions, context: RulesContext, add: Add): void {
  const acls = aclsOf(backend, context.ledger);
  for (const line of actionLines(backend)) {
    if (!isPlainEdit(line)) addAction(line, acls, when, context, add);
  }
}

const actionLines = (backend: Section): Line[] =>
  backend.lines.filter(({ words: [keyword = ""] }) =>
    /^(http-request|http-response|redirect)$/.test(keyword),
  );

/** Headers that are changed whatever the request is. */
const isPlainEdit = ({ words }: Line): boolean =>
  /^(set|add|del)-header$/.test(words[1] ?? "") && !words.includes("if") && !words.includes("unless");

/** A rule with what its backend changes of all headers. */
function withEdits(rule: RuleInput, backend: Section, { ledger }: RulesContext): RuleInput {
  let all = rule;
  for (const line of actionLines(backend).filter(isPlainEdit)) {
    const action = actionOf(line.words);
    if (tell(action, line, ledger)) all = joined(all, action.rule);
  }
  return all;
}

function joined(rule: RuleInput, more: RuleInput): RuleInput {
  const all: RuleInput = { ...rule };
  for (const key of ["request_headers", "response_headers"] as const) {
    const [one, other] = [rule[key] ?? {}, more[key]];
    if (other === undefined) continue;
    const edits = { ...one };
    if (other.remove !== undefined) edits.remove = [...(one.remove ?? []), ...other.remove];
    if (other.set !== undefined) edits.set = [...(one.set ?? []), ...other.set];
    if (other.add !== undefined) edits.add = [...(one.add ?? []), ...other.add];
    all[key] = edits;
  }
  if (more.rewrite !== undefined) all.rewrite = more.rewrite;
  return all;
}

const EDITS = new Set(["request_headers", "response_headers"]);

/** Header names that a rule does nothing but change, whatever the request is; undefined for other rules. */
function editedNames(rule: RuleInput): string[] | undefined {
  const { when = [], ...rest } = rule;
  if (when.length > 0 || Object.keys(rest).some((key) => !EDITS.has(key))) return undefined;
  return (["request_headers", "response_headers"] as const).flatMap((key) => {
    const { remove = [], set = [], add = [] } = rule[key] ?? {};
    return [...remove, ...[...set, ...add].map(({ name }) => name)].map(
      (name) => `${key} ${name.toLowerCase()}`,
    );
  });
}

/** Neighbours that change headers of all requests are one rule, where their order says nothing. */
function gathered(rules: readonly SourcedRule[]): SourcedRule[] {
  const all: SourcedRule[] = [];
  for (const each of rules) {
    const last = all.at(-1);
    const [before, names] = [last && editedNames(last.rule), editedNames(each.rule)];
    const areApart =
      before !== undefined && names !== undefined && !names.some((name) => before.includes(name));
    if (last === undefined || !areApart) all.push(each);
    else all[all.length - 1] = { rule: joined(last.rule, each.rule), line: last.line };
  }
  return all;
}
