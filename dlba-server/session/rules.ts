/** A vserver's rules, applied to the request whose head was read last: answered at once, or changed and sent on. */
import { head, joinedNamed } from "../http/head.ts";
import { comparedPath } from "../http/path.ts";
import { request } from "../http/request.ts";
import type { RequestChanges } from "../http/request-head.ts";
import { redirectTarget, rewritten } from "../rules/rewriting.ts";
import { decide, type Decision, type Rules } from "../rules/rules.ts";
import type { SessionEnv, SessionPort } from "../session-port.ts";
import { answer } from "./ending.ts";
import type { Session } from "./state.ts";

/** When it may be worth while to ask again, where nothing tells. */
const RETRY_AFTER_S = 5;

/** One record for all requests, as with `head`. */
const asked = {
  method: "",
  host: "",
  path: "",
  query: "",
  client: undefined as SessionEnv["clientIp"],
  header: joinedNamed,
};
const target = { host: "", path: "", query: "" };
/** What the rules have changed of the request: good until the next one. */
export const changes: RequestChanges = { path: undefined, host: undefined, edits: undefined };

/** "api.example.org" of "API.example.org.:8080". */
function hostOf(authority: string): string {
  const port = authority.startsWith("[") ? authority.indexOf("]") + 1 : authority.indexOf(":");
  const host = (port === -1 ? authority : authority.slice(0, port)).toLowerCase();
  return host.endsWith(".") ? host.slice(0, -1) : host;
}

/** Fills `asked` and `target`. False when the path can be read in two ways and a rule is about paths. */
function readAsked(env: SessionEnv, rules: Rules): boolean {
  const { start } = head;
  const sent = request.impliedPath + head.text.slice(request.pathStart - start, request.pathEnd - start);
  const mark = sent.indexOf("?");
  target.path = mark === -1 ? sent : sent.slice(0, mark);
  target.query = mark === -1 ? "" : sent.slice(mark);
  // OPTIONS of the server as a whole has no path.
  const isWhole = target.path === "*";
  const path = rules.areOfPaths && !isWhole ? comparedPath(target.path) : target.path;
  asked.method = head.text.slice(0, head.methodEnd - start);
  asked.host = hostOf(request.authority);
  asked.path = path ?? "";
  asked.query = target.query;
  asked.client = env.clientIp;
  target.host = asked.host;
  if (isWhole) target.path = "/";
  return path !== undefined;
}

/** The path as web servers are asked for it; undefined when it could be read in two ways. */
function pathAfter({ rewritings }: Decision): string | undefined {
  let path: string | undefined = target.path;
  for (const rewriting of rewritings) if (path !== undefined) path = rewritten(path, rewriting);
  return path;
}

/** Answers as the rules have decided. False when nothing has been decided against the request. */
function isAnswered(s: Session, port: SessionPort, rules: Rules, decision: Decision): boolean {
  if (decision.retry_ms > 0) {
    answer(s, port, 429, `Retry-After: ${Math.ceil(decision.retry_ms / 1000)}\r\n`);
    return true;
  }
  const rule = rules.list[decision.rule];
  if (rule?.deny !== undefined) {
    const { status, page, isLast } = rule.deny;
    if (isLast) s.isKept = false;
    answer(s, port, status, status === 429 ? `Retry-After: ${RETRY_AFTER_S}\r\n` : "", page);
  } else if (rule?.redirect !== undefined) {
    const { status, to } = rule.redirect;
    answer(s, port, status, `Location: ${redirectTarget(to, target)}\r\n`);
  } else return false;
  return true;
}

/**
 * Applies the rules to the request that was read last: its pool and what its response will be changed by go to the session,
 * the rest to `changes`. False when the request has been answered.
 */
export function passRules(
  s: Session,
  env: SessionEnv,
  rules: Rules,
  port: SessionPort,
  bytes: Buffer,
): boolean {
  if (!readAsked(env, rules)) return refusePath(s, port, bytes);
  const decision = decide(rules, asked, port.takeFromLimit);
  s.pool = decision.pool;
  s.responseEdits = decision.responseEdits ?? null;
  if (isAnswered(s, port, rules, decision)) return false;
  changes.host = decision.host;
  changes.edits = decision.requestEdits;
  changes.path = undefined;
  const isRewritten = decision.rewritings.length > 0 && asked.path !== "*";
  if (!isRewritten) return true;
  const path = pathAfter(decision);
  if (path === undefined) return refusePath(s, port, bytes);
  if (path.length + target.query.length > env.limits.request_target_bytes) {
    answer(s, port, 414);
    return false;
  }
  if (path !== target.path) changes.path = path + target.query;
  return true;
}

function refusePath(s: Session, port: SessionPort, bytes: Buffer): false {
  answer(s, port, 400);
  port.noteRefused("request", 400, bytes, head.start, head.end, true);
  return false;
}
