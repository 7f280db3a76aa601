/** How a request finds the web server that it belongs to, and how the response tells the client, where a pool says more of it. */
import { isForOne } from "../http/cache-control.ts";
import { hashOf, hashText } from "../http/hash-key.ts";
import { mirroredCookies, valueSetFor } from "../http/session-cookie.ts";
import { requestCookie, sessionId } from "../http/session-id.ts";
import type { SessionIds } from "../persistence.ts";
import type { PoolEnv, SessionEnv } from "../session-port.ts";
import { poolOf, type Session } from "./state.ts";
import { isNamed } from "./web-server.ts";

/** Reads the request whose head was read last, after its injected cookie. */
export function readKeys(s: Session, { scheduling, tokenIndex, persistence }: PoolEnv, bytes: Buffer): void {
  const { hashKey, sessionCookie, sessionIds } = persistence;
  if (scheduling === "url-hash") {
    s.hash = hashOf(hashKey, bytes);
    return;
  }
  s.hasSession = sessionCookie !== "" && requestCookie(sessionCookie) !== undefined;
  if (sessionIds !== null && !tokenIndex.has(s.token)) takeSessionId(s, sessionIds);
}

/** The id leads to the web server that made it, when that can be told; else, and when that one is gone, to its hash's. */
function takeSessionId(s: Session, ids: SessionIds): void {
  const id = sessionId(ids);
  if (id === "") return;
  s.hash = hashText(id);
  s.token = routeOf(id, ids) ?? ids.learned.recall(id);
}

const routeOf = (id: string, { routes }: SessionIds): string | undefined =>
  id.includes(".") ? routes.get(id.slice(id.lastIndexOf(".") + 1)) : undefined;

/**
 * The lines that name the web server to the client. A response with the injected cookie is for one client: a shared cache
 * would hand the cookie on to others. (What a rule makes of the web server's Cache-Control is not looked at.)
 */
export function cookieLines(s: Session, env: SessionEnv): string {
  const lines = namingLines(s, env);
  return lines === "" || (s.responseEdits === null && isForOne())
    ? lines
    : `${lines}Cache-Control: private\r\n`;
}

/** The like, for responses that no cache stores. */
export function namingLines(s: Session, env: SessionEnv): string {
  const pool = poolOf(s, env);
  if (pool.scheduling !== "cookie") return "";
  return pool.persistence.isPlain ? usualLine(s, env, pool) : linesBySession(s, env, pool);
}

const usualLine = (s: Session, env: SessionEnv, pool: PoolEnv): string =>
  isNamed(s, env) ? "" : pool.setCookie[s.server]!;

/**
 * With the application's session cookie named, the injected one is set when that one is, with the same attributes. A session
 * that goes on at another web server, the first one being gone, is told so by a cookie that lasts as long as the browser.
 */
function linesBySession(s: Session, env: SessionEnv, pool: PoolEnv): string {
  const { sessionCookie, pairs, sessionIds } = pool.persistence;
  if (sessionIds !== null && sessionIds.cookie !== "") learn(s, pool, sessionIds);
  if (sessionCookie === "") return usualLine(s, env, pool);
  const mirrored = mirroredCookies(sessionCookie, pairs[s.server]!);
  return mirrored === "" && s.hasSession ? usualLine(s, env, pool) : mirrored;
}

/** Notes who made a session, unless its id says so itself. */
function learn(s: Session, { persistence }: PoolEnv, ids: SessionIds): void {
  const id = valueSetFor(ids.cookie);
  if (id === "" || routeOf(id, ids) !== undefined) return;
  const pair = persistence.pairs[s.server]!;
  ids.learned.note(id, pair.slice(pair.indexOf("=") + 1));
}
