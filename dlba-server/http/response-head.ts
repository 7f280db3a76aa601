/**
 * The head that a client gets: the web server's, without what belongs to the web server's connection. Works
 * on the head that was scanned and read last.
 */
import { editedName, type HeaderEdits } from "../rules/edits.ts";
import { isOfPlainContent } from "./content-coding.ts";
import { options } from "./connection-options.ts";
import { FIELD } from "./fields.ts";
import { fieldEnds, fieldStarts, head, idOf, nameText } from "./head.ts";
import { response } from "./response.ts";

/** Whether the response that was read last is being compressed: what its head says of the plain content stays behind. */
export const coding = { isOn: false };

/** Whether a field stays behind. `isUnchunked`: the client gets no Transfer-Encoding (it speaks HTTP/1.0). */
export function isLeftOut(field: number, isUnchunked: boolean): boolean {
  if (coding.isOn && isOfPlainContent(field)) return true;
  switch (idOf(field)) {
    case FIELD.connection:
    case FIELD.keepAlive:
    case FIELD.proxyConnection:
    case FIELD.upgrade:
    case FIELD.te:
      return true;
    case FIELD.transferEncoding:
      return isUnchunked || response.status < 200 || response.status === 204;
    case FIELD.contentLength:
      return response.status < 200 || response.status === 204;
    default:
      return options.named.length > 0 && options.named.includes(nameText(field));
  }
}

/** Whether a field goes on as it is, which most do: nothing more is to be asked of it. */
export const isPlain = (field: number, edits: HeaderEdits | null): boolean =>
  idOf(field) === FIELD.other && options.named.length === 0 && edits === null && !coding.isOn;

/** Whether rules take a field out. */
export const isEditedOut = (field: number, edits: HeaderEdits | null): boolean =>
  edits !== null && edits.removed.length > 0 && edits.removed.includes(editedName(nameText(field)));

/** The head's text; `edits` are those of rules, `added` are whole header lines of ours. */
export function rewriteResponseHead(
  isUnchunked: boolean,
  via: string,
  edits: HeaderEdits | null,
  added: string,
): string {
  const { start } = head;
  let text = "";
  let from = 0;
  if (head.minor === 0) {
    text = "HTTP/1.1 ";
    from = head.statusStart - start;
  }
  for (let field = 0; field < head.fields; field++) {
    if (isPlain(field, edits)) continue;
    if (!isLeftOut(field, isUnchunked) && !isEditedOut(field, edits)) continue;
    text += head.text.slice(from, fieldStarts[field]! - start);
    from = fieldEnds[field]! - start;
  }
  const lines = edits === null ? "" : edits.text;
  return `${text + head.text.slice(from)}${lines}Via: 1.${head.minor} ${via}\r\n${added}\r\n`;
}
