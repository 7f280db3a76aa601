/** What of a request the access log tells. */
import { FIELD } from "./fields.ts";
import { head, joinedValue } from "./head.ts";

export interface LoggedRequest {
  /** The request line as it came. */
  readonly line: string;
  readonly host: string;
  readonly referer: string;
  readonly userAgent: string;
}

/** Of the head that was scanned last. */
export function loggedRequest(): LoggedRequest {
  return {
    line: head.text.slice(0, head.fieldsStart - head.start).trimEnd(),
    host: joinedValue(FIELD.host),
    referer: joinedValue(FIELD.referer),
    userAgent: joinedValue(FIELD.userAgent),
  };
}
