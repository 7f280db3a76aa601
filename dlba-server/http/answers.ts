/** What the proxy answers by itself: small, whole responses. */
import { editedName, type HeaderEdits } from "../rules/edits.ts";

const REASONS: Readonly<Record<number, string>> = {
  200: "OK",
  301: "Moved Permanently",
  302: "Found",
  303: "See Other",
  307: "Temporary Redirect",
  308: "Permanent Redirect",
  400: "Bad Request",
  403: "Forbidden",
  404: "Not Found",
  405: "Method Not Allowed",
  408: "Request Timeout",
  410: "Gone",
  413: "Content Too Large",
  414: "URI Too Long",
  417: "Expectation Failed",
  421: "Misdirected Request",
  429: "Too Many Requests",
  431: "Request Header Fields Too Large",
  451: "Unavailable For Legal Reasons",
  501: "Not Implemented",
  502: "Bad Gateway",
  503: "Service Unavailable",
  504: "Gateway Timeout",
  505: "HTTP Version Not Supported",
};

const EXPLANATIONS: Readonly<Record<number, string>> = {
  200: "The request goes no further than here.",
  301: "The page is elsewhere.",
  302: "The page is elsewhere.",
  303: "The page is elsewhere.",
  307: "The page is elsewhere.",
  308: "The page is elsewhere.",
  400: "The request could not be understood.",
  403: "This is not allowed.",
  404: "This is not served here.",
  405: "The method is not allowed here.",
  408: "The request did not arrive in time.",
  410: "This is gone.",
  413: "The request's content is too large.",
  414: "The request's target is too long.",
  417: "The request's expectation cannot be met.",
  421: "This is not served on this connection.",
  429: "There have been too many requests; ask again later.",
  431: "The request's header fields are too large.",
  451: "This may not be shown.",
  501: "The request asks for something that is not implemented.",
  502: "The web server's answer was not usable.",
  503: "No web server can be reached.",
  504: "The web server did not answer in time.",
  505: "Only HTTP/1.0 and HTTP/1.1 are spoken here.",
};
const RETRY_AFTER_S = 5;

/** Faults of a request that was whole and clear: the connection may go on after the answer. */
const KEPT_AFTER = new Set([403, 404, 405, 410, 417, 421, 429, 451, 502, 503, 504]);
export const mayKeepAfter = (status: number): boolean => status < 400 || KEPT_AFTER.has(status);

/** Statuses that the proxy refuses requests with by itself. */
export const OWN_STATUSES: readonly number[] = Object.keys(REASONS)
  .map(Number)
  .filter((status) => status >= 400);

/**
 * The whole answer with one of the statuses above. `connection` is the value of its Connection field, "" for none; `fields` are
 * further header lines; `page` is HTML (its char codes are bytes) instead of a few words; `edits` are those of rules.
 */
export function ownAnswer(
  status: number,
  connection: string,
  isHead: boolean,
  fields = "",
  page?: string,
  edits: HeaderEdits | null = null,
): string {
  const body = page ?? `${status} ${REASONS[status]}\n${EXPLANATIONS[status]}\n`;
  const type = page === undefined ? "text/plain" : "text/html; charset=utf-8";
  let own = `Content-Type: ${type}\r\n${fields}`;
  if (status === 503) own += `Retry-After: ${RETRY_AFTER_S}\r\n`;
  if (edits !== null) own = edited(own, edits);
  let text = `HTTP/1.1 ${status} ${REASONS[status]}\r\nContent-Length: ${body.length}\r\n${own}`;
  if (connection !== "") text += `Connection: ${connection}\r\n`;
  return isHead ? `${text}\r\n` : `${text}\r\n${body}`;
}

/** Header lines after the edits of rules. */
function edited(lines: string, { removed, text }: HeaderEdits): string {
  const kept = lines.split("\r\n").filter((line) => !removed.includes(editedName(line.split(":", 1)[0]!)));
  return kept.join("\r\n") + text;
}
