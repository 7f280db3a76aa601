/**
 * Cookies of a request (RFC 6265 4.2.1): found by name, and the injected one taken out. Readers behind the proxy differ over
 * white space around a name and over names without a value, so all of these count as the cookie when it is taken out; only
 * what a browser sends is believed.
 */
// Not trim(): that takes a byte above 127 for white space.
const BLANKS_AROUND = /^[\t ]+|[\t ]+$/g;
const BLANKS_BEFORE = /^[\t ]+/;
const ONLY_BLANKS = /^[\t ]*$/;
const isBlank = (letter: string | undefined): boolean => letter === " " || letter === "\t";

/** Where the pair that begins at `from` ends. */
function pairEnd(value: string, from: number): number {
  const end = value.indexOf(";", from);
  return end === -1 ? value.length : end;
}

/** Whether the pair `value[from, end)` is what some reader takes for a cookie called `name`. */
function isCalled(value: string, from: number, end: number, name: string): boolean {
  let at = from;
  while (isBlank(value[at])) at++;
  if (!value.startsWith(name, at)) return false;
  at += name.length;
  while (at < end && isBlank(value[at])) at++;
  return at >= end || value[at] === "=";
}

/**
 * The value of the first cookie called `name`, or undefined. `known`: of several, the first whose value is one of these
 * goes before the others.
 */
export function cookieValue(
  value: string,
  name: string,
  known?: ReadonlyMap<string, number>,
): string | undefined {
  if (!value.includes(name)) return undefined;
  let first: string | undefined;
  for (let from = 0; from < value.length;) {
    const end = pairEnd(value, from);
    let at = from;
    while (isBlank(value[at])) at++;
    if (value.startsWith(name, at) && value[at + name.length] === "=") {
      const found = value.slice(at + name.length + 1, end).replace(BLANKS_AROUND, "");
      if (known === undefined || known.has(found)) return found;
      first ??= found;
    }
    from = end + 1;
  }
  return first;
}

/** The field's value without any cookie called `name`; the others stay byte for byte. "" when none is left. */
export function withoutCookie(value: string, name: string): string {
  if (!value.includes(name)) return value;
  let rest = "";
  let isFirst = true;
  let isSame = true;
  for (let from = 0; from <= value.length;) {
    const end = pairEnd(value, from);
    if (isCalled(value, from, end, name)) isSame = false;
    else {
      const pair = value.slice(from, end);
      rest += isFirst ? (isSame ? pair : pair.replace(BLANKS_BEFORE, "")) : `;${pair}`;
      isFirst = false;
    }
    from = end + 1;
  }
  return isSame ? value : ONLY_BLANKS.test(rest) ? "" : rest;
}
