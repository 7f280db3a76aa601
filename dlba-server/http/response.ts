/** What a scanned response head means (RFC 9112 6.3). A head that could be read in two ways is refused. */
import { clearOptions, options, readOptions } from "./connection-options.ts";
import { FIELD } from "./fields.ts";
import { checkTransferEncoding, FRAMING, type Framing, readContentLength } from "./framing.ts";
import { head, idOf, readText, valueEnds, valueStarts } from "./head.ts";

/** What is known of the response whose head was scanned last; one record for all. */
export const response = {
  status: 0,
  framing: FRAMING.none as Framing,
  length: 0,
  /** The web server keeps its connection. */
  isKept: false,
};
const seen = { lengths: 0, codings: 0 };

function readField(bytes: Buffer, field: number): boolean {
  const start = valueStarts[field]!;
  const end = valueEnds[field]!;
  switch (idOf(field)) {
    case FIELD.connection:
      return readOptions(bytes, start, end);
    case FIELD.contentLength:
      response.length = readContentLength(bytes, start, end);
      return response.length >= 0 && seen.lengths++ === 0;
    case FIELD.transferEncoding:
      return checkTransferEncoding(bytes, start, end) === 0 && seen.codings++ === 0;
    default:
      return true;
  }
}

function readFields(bytes: Buffer): boolean {
  clearOptions();
  response.length = 0;
  seen.lengths = 0;
  seen.codings = 0;
  for (let field = 0; field < head.fields; field++) {
    if (idOf(field) !== FIELD.other && !readField(bytes, field)) return false;
  }
  return true;
}

function framingOf(status: number, isAnswerToHead: boolean): Framing {
  if (isAnswerToHead || status < 200 || status === 204 || status === 304) return FRAMING.none;
  if (seen.codings > 0) return FRAMING.chunked;
  if (seen.lengths === 0) return FRAMING.close;
  return response.length > 0 ? FRAMING.length : FRAMING.none;
}

/** Fills `response` from the scanned head in `bytes`. False when it is not a response to relay. */
export function readResponse(bytes: Buffer, isAnswerToHead: boolean): boolean {
  readText(bytes);
  if (head.major !== 1 || head.minor > 1 || !readFields(bytes)) return false;
  if (seen.codings > 0 && (seen.lengths > 0 || head.minor === 0)) return false;
  response.status = head.status;
  response.framing = framingOf(head.status, isAnswerToHead);
  response.isKept = !options.close && (head.minor === 1 || options.keepAlive);
  return true;
}
