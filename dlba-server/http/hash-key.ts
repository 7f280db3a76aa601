/** What of a request is hashed, so that the same goes to the same web server on every node. Works on the head read last. */
import { hashBytes } from "../hash.ts";
import type { HashKey } from "../persistence.ts";
import { head, nameText, valueText } from "./head.ts";
import { request } from "./request.ts";
import { requestCookie, targetText } from "./session-id.ts";

/** Of a request that has no key. */
export const NO_KEY = 0;
/** A hash as it is given on: never that of no key. */
const given = (hash: number): number => (hash === NO_KEY ? 1 : hash);

/** The hash of text whose char codes are bytes. */
export function hashText(text: string): number {
  const bytes = Buffer.from(text, "latin1");
  return given(hashBytes(bytes, 0, bytes.length));
}

/** The hash of path and query: the same whether the client sent them alone or in a whole URL. */
export function hashTarget(bytes: Buffer): number {
  if (request.impliedPath !== "") return hashText(targetText());
  return given(hashBytes(bytes, request.pathStart, request.pathEnd));
}

/** The hash of the pool's key in the request in `bytes`; NO_KEY when it hasn't got one. */
export function hashOf({ kind, name }: HashKey, bytes: Buffer): number {
  switch (kind) {
    case "path-and-query":
      return hashTarget(bytes);
    case "path":
      return hashText(targetText().replace(/\?.*$/s, ""));
    case "header":
      return hashIfAny(fieldValue(name));
    case "cookie":
      return hashIfAny(requestCookie(name) ?? "");
  }
}

const hashIfAny = (text: string): number => (text === "" ? NO_KEY : hashText(text));

/** The values of a field by its lower-case name, in order, as one list. */
function fieldValue(name: string): string {
  const values: string[] = [];
  for (let field = 0; field < head.fields; field++)
    if (nameText(field) === name) values.push(valueText(field));
  return values.join(", ");
}
