/** What is answered to a word that is not known, with what may be meant. */
import { DlbaError } from "../conf/errors.ts";
import { listOf, suggestion } from "../conf/suggest.ts";

/** `unknown table 'node'; did you mean 'nodes'?` */
export function unknownWord(what: string, word: string, known: readonly string[]): DlbaError {
  const meant = suggestion(word, known);
  const hint = meant === undefined ? `expected ${listOf(known, "or")}` : `did you mean '${meant}'?`;
  const name = word === "" ? `missing ${what}` : `unknown ${what} '${word.slice(0, 80)}'`;
  return new DlbaError("COMMAND_UNKNOWN", `${name}; ${hint}`);
}
