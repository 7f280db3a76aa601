/**
 * Regular expressions in linear time: whoever sends the text that is matched can't choose one that takes for ever. V8 has an
 * engine for that, behind a flag that is read whenever an expression is made.
 */
import { setFlagsFromString } from "node:v8";
import { MAX_REGEX_CHARACTERS } from "./limits.ts";

setFlagsFromString("--enable-experimental-regexp-engine");

/** V8's own flag for it, and the one for "." to be any byte: an encoded line end is no way past a rule. */
const FLAGS = "ls";

/**
 * Makes an expression that takes linear time, or says why it can't be made. Texts are compared byte by byte, so an expression is
 * ASCII. It knows no back-references, no look-around, and repeats a group 16 times at most by count.
 */
export function linearRegex(pattern: string): RegExp | string {
  if (!/^[ -~]*$/.test(pattern)) return "it is not ASCII alone";
  if (pattern.length > MAX_REGEX_CHARACTERS) return `it has more than ${MAX_REGEX_CHARACTERS} characters`;
  if (looksBehind(pattern)) return NOT_LINEAR;
  try {
    return new RegExp(pattern, FLAGS);
  } catch (error) {
    const reason = error instanceof Error ? error.message.slice(error.message.lastIndexOf(": ") + 2) : "";
    return reason === "Cannot be executed in linear time" ? NOT_LINEAR : reason;
  }
}

const NOT_LINEAR =
  "it can't be matched in linear time (back-references, look-around and counts above 16 can't)";

/** The engine takes some of these; what it takes should not depend on its version. */
function looksBehind(pattern: string): boolean {
  let isInClass = false;
  for (let at = 0; at < pattern.length; at++) {
    if (pattern[at] === "\\") at++;
    else if (pattern[at] === "[") isInClass = true;
    else if (pattern[at] === "]") isInClass = false;
    else if (!isInClass && /^\(\?<[=!]/.test(pattern.slice(at, at + 4))) return true;
  }
  return false;
}

/** How many groups an expression captures. */
export const groupsOf = (pattern: string): number => (new RegExp(`${pattern}|`).exec("")?.length ?? 1) - 1;
