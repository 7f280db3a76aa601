/** The head that a stream's client gets: the web server's, field by field from the bytes that it sent, by http/'s rules. */
import { fieldStarts, head, nameEnds, valueEnds, valueStarts } from "../http/head.ts";
import { isEditedOut, isLeftOut, isPlain } from "../http/response-head.ts";
import { response } from "../http/response.ts";
import type { HeaderEdits } from "../rules/edits.ts";
import type { Http2Connection, Http2Stream } from "./connection.ts";
import { encodeField, encodeStatus } from "./hpack-encoder.ts";
import { beginHead, encodeLines, endHead } from "./output.ts";

/** What the coding of a field may add to its text at most. */
const FIELD_ROOM = 12;

/** "via1.1 name": name and value as fields are encoded from, for the last name there was. */
const via = { name: "", minor: -1, bytes: Buffer.alloc(0) };

function viaBytes(name: string): Buffer {
  if (via.name !== name || via.minor !== head.minor) {
    via.name = name;
    via.minor = head.minor;
    via.bytes = Buffer.from(`via1.${head.minor} ${name}`, "latin1");
  }
  return via.bytes;
}

/**
 * Sends the response head that was read last, which stands in `bytes`, on a stream; `edits` are those of rules, `added` are whole lines of ours. `viaName`:
 * how we call ourselves, "" in answers of our own. Returns how many bytes it takes.
 */
export function sendResponseHead<O, X>(
  c: Http2Connection<O, X>,
  stream: Http2Stream<X>,
  bytes: Buffer,
  viaName: string,
  edits: HeaderEdits | null,
  added: string,
): number {
  const ours = viaName.length + (edits === null ? 0 : edits.text.length * 2) + added.length * 2;
  const room = head.end - head.start + (head.fields + 4) * FIELD_ROOM + ours;
  const out = beginHead(c, room);
  const start = out.length;
  out.length = encodeStatus(out.bytes, out.length, response.status);
  for (let field = 0; field < head.fields; field++) {
    if (!isPlain(field, edits) && (isLeftOut(field, true) || isEditedOut(field, edits))) continue;
    out.length = encodeField(
      c.encoder,
      out.bytes,
      out.length,
      bytes,
      fieldStarts[field]!,
      nameEnds[field]!,
      valueStarts[field]!,
      valueEnds[field]!,
      false,
    );
  }
  if (edits !== null) encodeLines(c, out, edits.text);
  if (viaName !== "") {
    const line = viaBytes(viaName);
    out.length = encodeField(c.encoder, out.bytes, out.length, line, 0, 3, 3, line.length, true);
  }
  if (added !== "") encodeLines(c, out, added);
  endHead(c, stream, 0);
  return out.length - start;
}
