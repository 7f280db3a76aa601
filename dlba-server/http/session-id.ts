/** The id of an application's session in a request: from its cookie, else from its URL. Works on the head read last. */
import { MAX_SESSION_ID_CHARACTERS } from "../../conf/limits.ts";
import type { SessionIds } from "../persistence.ts";
import { cookieValue } from "./cookie.ts";
import { FIELD } from "./fields.ts";
import { head, idOf, valueText } from "./head.ts";
import { request } from "./request.ts";

/** The value of the first cookie called `name` in any Cookie field, or undefined. */
export function requestCookie(name: string): string | undefined {
  for (let field = 0; field < head.fields; field++) {
    const value = idOf(field) === FIELD.cookie ? cookieValue(valueText(field), name) : undefined;
    if (value !== undefined) return value;
  }
  return undefined;
}

/** Path and query of the request as text. */
export const targetText = (): string =>
  request.impliedPath + head.text.slice(request.pathStart - head.start, request.pathEnd - head.start);

/** The value of `;name=value` in a path, or "". */
export function pathParameter(target: string, name: string): string {
  const query = target.indexOf("?");
  const path = query === -1 ? target : target.slice(0, query);
  const at = path.indexOf(`;${name}=`);
  if (at === -1) return "";
  const rest = path.slice(at + name.length + 2);
  const end = rest.search(/[;/]/);
  return end === -1 ? rest : rest.slice(0, end);
}

/** The value of `name=value` in the query, or "". */
export function queryParameter(target: string, name: string): string {
  const query = target.indexOf("?");
  if (query === -1) return "";
  const found = target
    .slice(query + 1)
    .split("&")
    .find((parameter) => parameter.startsWith(`${name}=`));
  return found === undefined ? "" : found.slice(name.length + 1);
}

/** The session's id, or "" for none, and for what is too long to be one. */
export function sessionId({ cookie, pathParameter: inPath, query }: SessionIds): string {
  let id = cookie === "" ? "" : (requestCookie(cookie) ?? "");
  if (id === "" && (inPath !== "" || query !== "")) {
    const target = targetText();
    if (inPath !== "") id = pathParameter(target, inPath);
    if (id === "" && query !== "") id = queryParameter(target, query);
  }
  return id.length > MAX_SESSION_ID_CHARACTERS ? "" : id;
}
