/**
 * A reader of HTTP/1.1 requests that shares nothing with the proxy: regular expressions after the grammar of RFC 9112, slow
 * and stricter than any web server. What it reads as one request, every web server reads as that one request.
 */
const TOKEN = "[!#$%&'*+\\-.^_`|~0-9A-Za-z]+";
const LINE = new RegExp(`^(${TOKEN}) ([!-~]+) HTTP/1\\.[01]$`);
const STATUS_LINE = /^HTTP\/1\.[01] ([1-5]\d\d)(?: [\t\x20-\x7e\x80-\xff]*)?$/;
const FIELD = new RegExp(`^(${TOKEN}):[\\t ]*((?:[\\t\\x20-\\x7e\\x80-\\xff]*[!-~\\x80-\\xff])?)[\\t ]*$`);
const HOST = /^(?:[-._~0-9A-Za-z]+|\[[0-9A-Fa-f:.]{2,}\])(?::\d{0,5})?$/;
const EXTENSION = `;${TOKEN}(?:=(?:${TOKEN}|"[!#-\\[\\]-~]*"))?`;
const SIZE_LINE = new RegExp(`^0{0,12}([0-9A-Fa-f]{1,13})(?:${EXTENSION})*\\r\\n`);

/** A message as it stands on the wire, and what it says. */
export interface StrictMessage {
  readonly text: string;
  /** The method of a request; the status of a response. */
  readonly what: string;
  readonly fields: readonly (readonly [string, string])[];
  /** The bytes behind the head, their framing included. */
  readonly body: string;
}
/** What came, message by message, and the rest: nothing, the beginning of one more, or what can't be one. */
export interface StrictReading {
  readonly messages: readonly StrictMessage[];
  readonly rest: "" | "half" | "bad";
}

interface Head {
  readonly what: string;
  readonly fields: [string, string][];
  readonly end: number;
}
type Verdict = "half" | "bad";

function readHead(text: string, firstLine: RegExp): Head | Verdict {
  const at = text.indexOf("\r\n\r\n");
  if (at === -1) return "half";
  const [first = "", ...lines] = text.slice(0, at).split("\r\n");
  const what = firstLine.exec(first)?.[1];
  if (what === undefined) return "bad";
  const fields: [string, string][] = [];
  for (const line of lines) {
    const field = FIELD.exec(line);
    if (field === null) return "bad";
    fields.push([field[1]!.toLowerCase(), field[2]!]);
  }
  return { what, fields, end: at + 4 };
}

/** The values of the fields called `name`. */
export const valuesOf = (fields: readonly (readonly [string, string])[], name: string): string[] =>
  fields.filter(([one]) => one === name).map(([, value]) => value);

/** Where a chunked body that begins at 0 ends. */
function chunkedEnd(text: string): number | Verdict {
  let at = 0;
  for (;;) {
    const line = SIZE_LINE.exec(text.slice(at));
    if (line === null) return text.slice(at).includes("\n") ? "bad" : "half";
    at += line[0].length;
    const size = Number.parseInt(line[1]!, 16);
    if (size === 0) return trailersEnd(text, at);
    if (text.length < at + size + 2) return "half";
    if (text.slice(at + size, at + size + 2) !== "\r\n") return "bad";
    at += size + 2;
  }
}

function trailersEnd(text: string, start: number): number | Verdict {
  let at = start;
  for (;;) {
    const end = text.indexOf("\r\n", at);
    if (end === -1) return "half";
    const line = text.slice(at, end);
    at = end + 2;
    if (line === "") return at;
    const field = FIELD.exec(line);
    const isFraming = /^(?:content-length|transfer-encoding|host)$/i.test(field?.[1] ?? "");
    if (field === null || isFraming) return "bad";
  }
}

/** How many bytes of body follow the head; -1: until the close. */
function bodyEnd(fields: Head["fields"], rest: string, isResponse: boolean): number | Verdict {
  const lengths = valuesOf(fields, "content-length");
  const codings = valuesOf(fields, "transfer-encoding");
  if (lengths.length + codings.length > 1) return "bad";
  if (codings.length === 1) return codings[0]!.toLowerCase() === "chunked" ? chunkedEnd(rest) : "bad";
  if (lengths.length === 0) return isResponse ? -1 : 0;
  if (!/^(?:0|[1-9]\d{0,14})$/.test(lengths[0]!)) return "bad";
  const length = Number(lengths[0]);
  return rest.length < length ? "half" : length;
}

function readRequest(text: string): StrictMessage | Verdict {
  const head = readHead(text, LINE);
  if (typeof head === "string") return head;
  const hosts = valuesOf(head.fields, "host");
  if (hosts.length !== 1 || !HOST.test(hosts[0]!)) return "bad";
  const length = bodyEnd(head.fields, text.slice(head.end), false);
  if (typeof length === "string") return length;
  return { ...head, text: text.slice(0, head.end + length), body: text.slice(head.end, head.end + length) };
}

/** All requests in `text`, one after the other. */
export function readRequests(text: string): StrictReading {
  const messages: StrictMessage[] = [];
  let at = 0;
  while (at < text.length) {
    const message = readRequest(text.slice(at));
    if (typeof message === "string") return { messages, rest: message };
    messages.push(message);
    at += message.text.length;
  }
  return { messages, rest: "" };
}

function readResponse(text: string, isAnswerToHead: boolean, isClosed: boolean): StrictMessage | Verdict {
  const head = readHead(text, STATUS_LINE);
  if (typeof head === "string") return head;
  const status = Number(head.what);
  const hasNoBody = status < 200 || status === 204 || status === 304 || isAnswerToHead;
  const length = hasNoBody ? 0 : bodyEnd(head.fields, text.slice(head.end), true);
  if (typeof length === "string") return length;
  if (length === -1 && !isClosed) return "half";
  const end = length === -1 ? text.length : head.end + length;
  return { ...head, text: text.slice(0, end), body: text.slice(head.end, end) };
}

/**
 * All responses in `text`, which answer requests with these methods. `isClosed`: the connection has been closed properly
 * behind them.
 */
export function readResponses(text: string, methods: readonly string[], isClosed: boolean): StrictReading {
  const messages: StrictMessage[] = [];
  let at = 0;
  let answered = 0;
  while (at < text.length) {
    const message = readResponse(text.slice(at), methods[answered] === "HEAD", isClosed);
    if (typeof message === "string") return { messages, rest: message };
    messages.push(message);
    at += message.text.length;
    if (Number(message.what) >= 200) answered++;
  }
  return { messages, rest: "" };
}
