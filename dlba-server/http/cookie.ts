/** The injected cookie among the cookies of a request (RFC 6265 4.2.1): found, and taken out. */

/** Whether a cookie begins at `at`: only ";" and white space may stand before it. */
function isBoundary(value: string, at: number): boolean {
  let before = at - 1;
  while (before >= 0 && (value[before] === " " || value[before] === "\t")) before--;
  return before < 0 || value[before] === ";";
}

/** Where the first cookie called `name` begins in a Cookie field's value, or -1. */
export function cookieAt(value: string, name: string): number {
  const wanted = `${name}=`;
  let at = value.indexOf(wanted);
  while (at !== -1 && !isBoundary(value, at)) at = value.indexOf(wanted, at + 1);
  return at;
}

/** The value of the cookie that begins at `at`. */
export function cookieValue(value: string, at: number): string {
  const from = value.indexOf("=", at) + 1;
  const end = value.indexOf(";", from);
  return value.slice(from, end === -1 ? value.length : end).trim();
}

/** The field's value without any cookie called `name`; the others stay byte for byte. "" when none is left. */
export function withoutCookie(value: string, name: string): string {
  let rest = value;
  for (let at = cookieAt(rest, name); at !== -1; at = cookieAt(rest, name)) {
    const before = rest.lastIndexOf(";", at);
    const end = rest.indexOf(";", at);
    const after = end === -1 ? "" : rest.slice(end);
    rest = before === -1 ? after.slice(1).trimStart() : rest.slice(0, before) + after;
  }
  return rest;
}
