/**
 * The corpus: requests and responses of HTTP/1.1 with the treatment that each must get, in the YAML files beside this
 * one. A row says where it is from (a section of an RFC, a paper, a CVE) and holds all the bytes that are sent.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parse } from "yaml";
import * as z from "zod";

/** Bytes as text (char codes are bytes), or parts of it of which some come many times. */
const bytes = z.union([
  z.string(),
  z.array(z.union([z.string(), z.strictObject({ text: z.string(), times: z.int() })])),
]);
const shared = {
  name: z.string(),
  source: z.string(),
  /** The statuses that the client gets, in order. */
  answers: z.array(z.int()),
};

const requestRow = z.strictObject({
  ...shared,
  /** All that the client sends before it ends. */
  request: bytes,
  /**
   * The requests that web servers get, whole, each without the fields that the proxy adds. "as it came": they make up all
   * that the client sent. Left out: no web server hears anything of it.
   */
  goes_on: z.union([z.array(z.string()), z.literal("as it came")]).default([]),
  /** The last request begins at a web server and breaks off there: its connection is closed before the request's end. */
  breaks_off: z.literal(true).optional(),
});

const responseRow = z.strictObject({
  ...shared,
  /** What the client asks; left out: GET. */
  request: bytes.optional(),
  /** All that the web server says. */
  response: bytes,
  /** It closes behind that. */
  closes: z.literal(true).optional(),
  /** What the client gets without the fields that the proxy adds; left out: an answer of the proxy's own. */
  relayed: z.string().optional(),
  /** The response breaks off at the client. */
  cut: z.literal(true).optional(),
  /** Whether the web server's connection serves the next request. */
  kept: z.boolean(),
});

/** Rows whose bytes are put together. */
export type RequestRow = Omit<z.output<typeof requestRow>, "request"> & { readonly request: string };
export type ResponseRow = Omit<z.output<typeof responseRow>, "request" | "response"> & {
  readonly request: string;
  readonly response: string;
};

const REQUEST_FILES = ["request-lines", "request-fields", "lengths", "chunks", "sequences"] as const;
const PLAIN_GET = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";

function joined(parts: z.output<typeof bytes>): string {
  if (typeof parts === "string") return parts;
  return parts.map((part) => (typeof part === "string" ? part : part.text.repeat(part.times))).join("");
}

function rowsOf<T>(file: string, row: z.ZodType<T>): T[] {
  const text = readFileSync(join(import.meta.dirname, `${file}.yaml`), "utf8");
  return z.array(row).parse(parse(text));
}

/** Requests by the file that they stand in. */
export const requestRows: ReadonlyMap<string, readonly RequestRow[]> = new Map(
  REQUEST_FILES.map((file) => [
    file,
    rowsOf(file, requestRow).map((row) => Object.assign(row, { request: joined(row.request) })),
  ]),
);

export const responseRows: readonly ResponseRow[] = rowsOf("responses", responseRow).map((row) =>
  Object.assign(row, { request: joined(row.request ?? PLAIN_GET), response: joined(row.response) }),
);

/** What a worker must be told so that the rows' bounds are its own. */
export const CORPUS_LIMITS = {
  request_head_bytes: 8192,
  request_target_bytes: 2048,
  request_body_bytes: 1_000_000,
  response_head_bytes: 8192,
};

/** Fields that the proxy adds to a request, each a whole line. */
const ADDED_TO_REQUESTS =
  /^(?:X-Forwarded-For|X-Forwarded-Proto|X-Forwarded-Host|Forwarded|Via|X-Request-Id|traceparent): [^\r\n]*\r\n/gim;
const ADDED_TO_RESPONSES =
  /^(?:Via: 1\.[01] (?:rig|array)|Connection: (?:close|keep-alive)|Set-Cookie: DLBA=[^\r\n]*|Cache-Control: private)\r\n/gm;

function withoutLines(message: string, lines: RegExp): string {
  const end = message.indexOf("\r\n\r\n") + 2;
  return end < 2 ? message : message.slice(0, end).replace(lines, "") + message.slice(end);
}

/** The Host of a request that came without one is the address that the client connected to. */
const OWN_HOST = /^Host: (?:127\.0\.0\.1:\d+|192\.0\.2\.10)\r\n/m;

/** A message that was relayed, as the rows state it. */
export const asStatedRequest = (message: string): string =>
  withoutLines(message, ADDED_TO_REQUESTS).replace(OWN_HOST, "Host: <address>\r\n");
export const asStatedResponse = (message: string): string => withoutLines(message, ADDED_TO_RESPONSES);
