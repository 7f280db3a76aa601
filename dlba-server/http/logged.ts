/** What of a request the access log tells. */
import { FIELD } from "./fields.ts";
import { head, joinedValue } from "./head.ts";
import { request } from "./request.ts";

export interface LoggedRequest {
  /** The request line as it came. */
  readonly line: string;
  readonly host: string;
  readonly referer: string;
  readonly userAgent: string;
}

/** The request line as it came; that of a stream is told in the form that all know. */
function requestLine(): string {
  const line = head.text.slice(0, head.fieldsStart - head.start).trimEnd();
  return request.isStream ? line.replace(/HTTP\/1\.1$/, "HTTP/2.0") : line;
}

/** Of the head that was scanned last. */
export function loggedRequest(): LoggedRequest {
  return {
    line: requestLine(),
    host: joinedValue(FIELD.host),
    referer: joinedValue(FIELD.referer),
    userAgent: joinedValue(FIELD.userAgent),
  };
}
