/** Whether a response may be stored by caches that serve many (RFC 9111 3 and 5.2.2). */
import { FIELD } from "./fields.ts";
import { joinedValue } from "./head.ts";

const DIRECTIVE = /([^\s,=;"]+)[\t ]*(?:=[\t ]*("(?:[^"\\]|\\.)*"|[^\s,;]*))?/g;
const NAMES_SET_COOKIE = /(?:^|[\s,"])set-cookie(?:$|[\s,"])/i;

/**
 * Whether the response whose head was read last says itself that no shared cache may store it, or may not store its
 * Set-Cookie: `private`, `no-store`, or `private` with Set-Cookie among its fields. `no-cache` does not: what has been
 * asked for anew may be served from the store, cookie and all.
 */
export function isForOne(): boolean {
  const value = joinedValue(FIELD.cacheControl);
  return value !== "" && keepsCookieFromSharing(value);
}

/** The like of a Cache-Control field's value. */
export function keepsCookieFromSharing(value: string): boolean {
  for (const [, name = "", argument] of value.matchAll(DIRECTIVE)) {
    const directive = name.toLowerCase();
    if (directive === "no-store") return true;
    if (directive !== "private") continue;
    if (argument === undefined || argument === "" || NAMES_SET_COOKIE.test(argument)) return true;
  }
  return false;
}
