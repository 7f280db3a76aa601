/** The Connection header: whether the connection is kept, and which fields stay on this hop (RFC 9110 7.6.1). */
import { COMMA, equalsIgnoringCase, SPACE, TAB, TOKEN } from "./characters.ts";
import { isEndToEnd } from "./fields.ts";

/** What the Connection fields of one head say; one record for all heads. */
export const options = {
  close: false,
  keepAlive: false,
  /** Lower-case names of the fields to drop, besides those that are always dropped. */
  named: [] as string[],
};

export function clearOptions(): void {
  options.close = false;
  options.keepAlive = false;
  if (options.named.length > 0) options.named.length = 0;
}

/**
 * Reads one Connection field's value. False when it isn't a list of tokens, or names a field that is meant
 * for the other end: dropping that could change what the message is.
 */
export function readOptions(bytes: Buffer, start: number, end: number): boolean {
  let at = start;
  while (at < end) {
    let byte = bytes[at]!;
    if (byte === COMMA || byte === SPACE || byte === TAB) {
      at++;
      continue;
    }
    const from = at;
    while (at < end && TOKEN[bytes[at]!] === 1) at++;
    if (at === from || !takeOption(bytes, from, at)) return false;
    while (at < end && ((byte = bytes[at]!) === SPACE || byte === TAB)) at++;
    if (at < end && bytes[at] !== COMMA) return false;
  }
  return true;
}

function takeOption(bytes: Buffer, start: number, end: number): boolean {
  if (equalsIgnoringCase(bytes, start, end, "keep-alive")) {
    options.keepAlive = true;
    return true;
  }
  if (equalsIgnoringCase(bytes, start, end, "close")) {
    options.close = true;
    return true;
  }
  const name = bytes.latin1Slice(start, end).toLowerCase();
  options.named.push(name);
  return !isEndToEnd(name.replaceAll("_", "-"));
}
