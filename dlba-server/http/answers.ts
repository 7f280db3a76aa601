/** What the proxy answers by itself: small, whole responses. */
const REASONS: Readonly<Record<number, string>> = {
  400: "Bad Request",
  404: "Not Found",
  408: "Request Timeout",
  413: "Content Too Large",
  414: "URI Too Long",
  417: "Expectation Failed",
  431: "Request Header Fields Too Large",
  501: "Not Implemented",
  502: "Bad Gateway",
  503: "Service Unavailable",
  504: "Gateway Timeout",
  505: "HTTP Version Not Supported",
};

const EXPLANATIONS: Readonly<Record<number, string>> = {
  400: "The request could not be understood.",
  404: "This host is not served here.",
  408: "The request did not arrive in time.",
  413: "The request's content is too large.",
  414: "The request's target is too long.",
  417: "The request's expectation cannot be met.",
  431: "The request's header fields are too large.",
  501: "The request asks for something that is not implemented.",
  502: "The web server's answer was not usable.",
  503: "No web server can be reached.",
  504: "The web server did not answer in time.",
  505: "Only HTTP/1.0 and HTTP/1.1 are spoken here.",
};
const RETRY_AFTER_S = 5;

/** Faults of a request that was whole and clear: the connection may go on after the answer. */
export const mayKeepAfter = (status: number): boolean =>
  status === 404 || status === 417 || (status >= 502 && status <= 504);

/** Statuses that the proxy answers with by itself. */
export const OWN_STATUSES: readonly number[] = Object.keys(REASONS).map(Number);

/**
 * The whole answer with one of the statuses above. `connection` is the value of its Connection field, "" for none; `page` is
 * HTML (its char codes are bytes) instead of a few words.
 */
export function ownAnswer(status: number, connection: string, isHead: boolean, page?: string): string {
  const body = page ?? `${status} ${REASONS[status]}\n${EXPLANATIONS[status]}\n`;
  const type = page === undefined ? "text/plain" : "text/html; charset=utf-8";
  let text = `HTTP/1.1 ${status} ${REASONS[status]}\r\nContent-Type: ${type}\r\nContent-Length: ${body.length}\r\n`;
  if (status === 503) text += `Retry-After: ${RETRY_AFTER_S}\r\n`;
  if (connection !== "") text += `Connection: ${connection}\r\n`;
  return isHead ? `${text}\r\n` : `${text}\r\n${body}`;
}
