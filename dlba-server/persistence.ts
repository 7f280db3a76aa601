/** How clients and keys stay with a web server of a pool: from the configuration to what sessions go by. */
import { stringifySetCookie } from "cookie";
import { type ArrayKey, cookieToken } from "../conf/keys.ts";
import { MAX_LEARNED_SESSIONS, MAX_SESSION_ID_CHARACTERS } from "../conf/limits.ts";
import type { PoolConfig } from "../conf/schema.ts";

/** What of a request is hashed. `name`: of the header (in lower case) or the cookie, else "". */
export interface HashKey {
  readonly kind: PoolConfig["hash_key"];
  readonly name: string;
}

/** Where an application's session id stands, "" for nowhere, and whom it leads to. */
export interface SessionIds {
  readonly cookie: string;
  readonly pathParameter: string;
  readonly query: string;
  /** What follows the last "." of an id → the injected cookie's value for the web server that made it. */
  readonly routes: ReadonlyMap<string, string>;
  readonly learned: LearnedSessions;
}

/** How requests of a pool stick, beyond the injected cookie as it is. */
export interface Persistence {
  /** The injected cookie alone, or the hash of path and query: nothing below is in use. */
  readonly isPlain: boolean;
  readonly hashKey: HashKey;
  /** The application's session cookie whose life the injected cookie shares, or "". */
  readonly sessionCookie: string;
  /** "Set-Cookie: name=value" for each web server, without attributes. */
  readonly pairs: readonly string[];
  readonly sessionIds: SessionIds | null;
}

/** Which web server made a session: what a worker has seen in responses, the latest ones. */
export interface LearnedSessions {
  /** The injected cookie's value for the web server that made the session, or "". */
  readonly recall: (id: string) => string;
  readonly note: (id: string, token: string) => void;
}

export function createLearnedSessions(most = MAX_LEARNED_SESSIONS): LearnedSessions {
  const tokens = new Map<string, string>();
  const note = (id: string, token: string): void => {
    if (id.length > MAX_SESSION_ID_CHARACTERS) return;
    // A map keeps the order in which it was filled: the first one has been noted or asked for longest ago.
    tokens.delete(id);
    if (tokens.size >= most) tokens.delete(tokens.keys().next().value!);
    tokens.set(id, token);
  };
  const recall = (id: string): string => {
    const token = tokens.get(id);
    if (token === undefined) return "";
    note(id, token);
    return token;
  };
  return { recall, note };
}

export function createPersistence(pool: PoolConfig, arrayKey: ArrayKey): Persistence {
  const tokens = pool.servers.map((server) => cookieToken(arrayKey, pool.name, server.id));
  const { hash_key: kind, hash_key_name = "", session_cookie = "", session_id: ids } = pool;
  return {
    isPlain: kind === "path-and-query" && session_cookie === "" && ids === undefined,
    hashKey: { kind, name: kind === "header" ? hash_key_name.toLowerCase() : hash_key_name },
    sessionCookie: session_cookie,
    pairs: tokens.map((token) => `Set-Cookie: ${pool.cookie}=${token}`),
    sessionIds:
      ids === undefined
        ? null
        : {
            cookie: ids.cookie ?? "",
            pathParameter: ids.path_parameter ?? "",
            query: ids.query ?? "",
            routes: new Map(pool.servers.map(({ id, route }, i) => [route ?? id, tokens[i]!])),
            learned: createLearnedSessions(),
          },
  };
}

/** The header lines that name each web server of a pool to a client. */
export function setCookieLines(pool: PoolConfig, arrayKey: ArrayKey): string[] {
  if (pool.scheduling !== "cookie") return pool.servers.map(() => "");
  const { secure, http_only: httpOnly, same_site: sameSite, path, domain } = pool.cookie_attributes;
  return pool.servers.map((server) => {
    const value = cookieToken(arrayKey, pool.name, server.id);
    const cookie = { name: pool.cookie, value, path, httpOnly, secure, sameSite };
    return `Set-Cookie: ${stringifySetCookie(domain === undefined ? cookie : { ...cookie, domain })}\r\n`;
  });
}
