/**
 * The application's own session cookie in a response: what the injected cookie shares its life with. Works on the head that
 * was scanned and read last.
 */
import { FIELD } from "./fields.ts";
import { head, idOf, nameText, valueText } from "./head.ts";

const BLANKS = /^[\t ]+|[\t ]+$/g;
/** A Set-Cookie value's pair: name, value and what follows, its ";" included. */
const PAIR = /^([^=;]*?)[\t ]*=([^;]*)(.*)$/s;

/**
 * Lines that set a cookie as the response sets the one called `name`: `pair` ("Set-Cookie: name=value") with the same
 * attributes, once for each line. So it lasts as long, is sent where the other is, and goes when that one is deleted. ""
 * when the response does not set it.
 */
export function mirroredCookies(name: string, pair: string): string {
  let lines = "";
  for (let field = 0; field < head.fields; field++) {
    if (!isSetCookie(field)) continue;
    const [, called, , attributes] = PAIR.exec(valueText(field)) ?? [];
    if (called?.replace(BLANKS, "") === name) lines += `${pair}${attributes}\r\n`;
  }
  return lines;
}

/** The value that the response gives the cookie called `name`; "" when it does not set it, or sets it to nothing. */
export function valueSetFor(name: string): string {
  for (let field = 0; field < head.fields; field++) {
    if (!isSetCookie(field)) continue;
    const [, called, value] = PAIR.exec(valueText(field)) ?? [];
    if (called?.replace(BLANKS, "") === name) return value!.replace(BLANKS, "");
  }
  return "";
}

const isSetCookie = (field: number): boolean =>
  idOf(field) === FIELD.other && nameText(field) === "set-cookie";
