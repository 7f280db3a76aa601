/** What must hold within a pool about how clients and keys stay with a web server. Pure. */
import type { ConfigPath, Finding } from "./config-error.ts";
import { pathText } from "./config-error.ts";
import { type Draft, duplicates, entriesOf } from "./draft.ts";
import type { PoolConfig } from "./schema.ts";

type PoolDraft = Draft<PoolConfig>;
type Check = (pool: PoolDraft, at: ConfigPath) => Finding[];

/** Everything that is wrong with a pool's cookies, session ids and hash key. */
export const checkPersistence = (pool: PoolDraft, at: ConfigPath): Finding[] =>
  [checkScheduling, checkHashKey, checkCookie, checkSessionId].flatMap((check) => check(pool, at));

const finding = (path: ConfigPath, message: string, hint: string, isAtKey = true): Finding => ({
  path,
  isAtKey,
  message,
  hint,
});

/** Keys that another scheduling leaves nothing to do. */
const checkScheduling: Check = (pool, at) => {
  const { scheduling, session_cookie, session_id, hash_key, hash_key_name, servers } = pool;
  const found: Finding[] = [];
  const refuse = (path: ConfigPath, needed: string): void => {
    const message = `'${path.at(-1)}' has no effect: the scheduling of ${pathText(at)} is ${scheduling}`;
    found.push(finding(path, message, `remove it, or set scheduling: ${needed}`));
  };
  if (scheduling !== "cookie" && session_cookie !== undefined) refuse([...at, "session_cookie"], "cookie");
  if (scheduling !== "cookie" && session_id !== undefined) refuse([...at, "session_id"], "cookie");
  if (scheduling !== "url-hash" && hash_key !== undefined && hash_key !== "path-and-query")
    refuse([...at, "hash_key"], "url-hash");
  if (scheduling !== "url-hash" && hash_key_name !== undefined) refuse([...at, "hash_key_name"], "url-hash");
  if (session_id !== undefined) return found;
  for (const [i, server] of (servers ?? []).entries()) {
    if (server?.route === undefined) continue;
    const path = [...at, "servers", i, "route"];
    const message = `'route' has no effect: ${pathText(at)} has no session_id`;
    found.push(finding(path, message, "remove it, or say where the session id stands"));
  }
  return found;
};

const checkHashKey: Check = ({ scheduling, hash_key, hash_key_name }, at) => {
  if (scheduling !== "url-hash") return [];
  const isNamed = hash_key === "header" || hash_key === "cookie";
  if (isNamed && hash_key_name === undefined) {
    const message = `missing key 'hash_key_name' in ${pathText(at)}`;
    return [finding([...at, "hash_key_name"], message, `name the ${hash_key} that is hashed`, false)];
  }
  if (isNamed || hash_key_name === undefined) return [];
  const message = `'hash_key_name' has no effect: the hash_key of ${pathText(at)} is ${hash_key ?? "path-and-query"}`;
  const hint = "remove it, or set hash_key: header or hash_key: cookie";
  return [finding([...at, "hash_key_name"], message, hint)];
};

/** What no browser would take, or what would be taken out before the application sees it. */
const checkCookie: Check = ({ scheduling, cookie, cookie_attributes: attributes, session_cookie }, at) => {
  if (scheduling !== "cookie" || cookie === undefined) return [];
  const found: Finding[] = [];
  const { secure, same_site, path, domain } = attributes ?? {};
  if (same_site === "none" && secure !== true) {
    const message = `${pathText([...at, "cookie_attributes"])} has same_site none without secure`;
    found.push(
      finding(
        [...at, "cookie_attributes", "same_site"],
        message,
        "browsers take it only with secure: true",
        false,
      ),
    );
  }
  const isHostOnly = path === "/" && domain === undefined;
  if (cookie.startsWith("__Host-") && !(secure === true && isHostOnly)) {
    const message = `no browser takes the cookie ${cookie} with these attributes`;
    found.push(
      finding([...at, "cookie"], message, "__Host- needs secure: true, path: / and no domain", false),
    );
  }
  if (cookie.startsWith("__Secure-") && secure !== true) {
    const message = `no browser takes the cookie ${cookie} with these attributes`;
    found.push(finding([...at, "cookie"], message, "__Secure- needs secure: true", false));
  }
  if (session_cookie === cookie) {
    const message = `${pathText([...at, "session_cookie"])} is the injected cookie`;
    const hint = "name the application's cookie, or call the injected one otherwise";
    found.push(finding([...at, "session_cookie"], message, hint, false));
  }
  return found;
};

const checkSessionId: Check = ({ cookie, session_id, servers }, at) => {
  if (session_id === undefined) return [];
  const path = [...at, "session_id"];
  const { cookie: inCookie, path_parameter, query } = session_id;
  if (inCookie === undefined && path_parameter === undefined && query === undefined)
    return [
      finding(path, `${pathText(path)} says nothing`, "name a cookie, a path_parameter or a query", false),
    ];
  const routes = entriesOf(servers, [...at, "servers"], "route", ({ route, id }) => route ?? id);
  const found = duplicates("route", routes, "give each web server of a pool a route of its own");
  if (inCookie !== undefined && inCookie === cookie) {
    const message = `${pathText([...path, "cookie"])} is the injected cookie`;
    found.push(finding([...path, "cookie"], message, "name the application's cookie", false));
  }
  return found;
};
