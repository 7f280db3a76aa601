/** Lines of the access log. Pure: whatever a client sends, a line stays one line, and a field one field. */
import type { LoggedRequest } from "./http/logged.ts";

export const ACCESS_LOG_FORMATS = ["combined", "json"] as const;
export type AccessLogFormat = (typeof ACCESS_LOG_FORMATS)[number];

/** A request that is over. */
export interface Access {
  /** When it had come whole, as far as its head goes: milliseconds since 1970. */
  readonly at_ms: number;
  readonly node: string;
  readonly vserver: string;
  readonly client: string;
  readonly clientPort: number;
  /** Undefined for what could not be read as a request. */
  readonly request: LoggedRequest | undefined;
  readonly requestId: string;
  /** The W3C Trace Context's; "" for none. */
  readonly traceparent: string;
  /** 0: it has not been answered. */
  readonly status: number;
  /** All that was sent to the client, heads included. */
  readonly sent_bytes: number;
  /** Of the request's body, or what went into a tunnel. */
  readonly received_bytes: number;
  /** The web server that it was given to last, or "" for none. */
  readonly webServer: string;
  /** To the head of the web server's response; undefined without one. */
  readonly response_ms: number | undefined;
  readonly total_ms: number;
  readonly end: AccessEnd;
}
/** done: answered in full. cut: the response broke off. lost: the client was gone first. */
export type AccessEnd = "done" | "cut" | "lost";

const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"] as const;
const two = (value: number): string => (value < 10 ? `0${value}` : String(value));

let dateOf_s = -1;
let dateText = "";

/** As the common log format has it, in UTC; made once a second. */
function commonDate(at_ms: number): string {
  const at_s = Math.floor(at_ms / 1000);
  if (at_s === dateOf_s) return dateText;
  const date = new Date(at_s * 1000);
  const day = `${two(date.getUTCDate())}/${MONTHS[date.getUTCMonth()]}/${date.getUTCFullYear()}`;
  const time = `${two(date.getUTCHours())}:${two(date.getUTCMinutes())}:${two(date.getUTCSeconds())}`;
  dateOf_s = at_s;
  dateText = `[${day}:${time} +0000]`;
  return dateText;
}

const UNSAFE = /[^ !#-[\]-~]/;
const UNSAFE_ALL = /[^ !#-[\]-~]/g;

/** In quotes: quotes, backslashes and what is no visible ASCII as \xHH of its byte. */
function quoted(text: string): string {
  if (text === "") return '"-"';
  if (!UNSAFE.test(text)) return `"${text}"`;
  const safe = text.replace(
    UNSAFE_ALL,
    (char) => `\\x${(char.charCodeAt(0) & 255).toString(16).padStart(2, "0")}`,
  );
  return `"${safe}"`;
}

function combined({ client, at_ms, request, status, sent_bytes }: Access): string {
  const line = quoted(request?.line ?? "");
  const who = `${quoted(request?.referer ?? "")} ${quoted(request?.userAgent ?? "")}`;
  return `${client} - - ${commonDate(at_ms)} ${line} ${status} ${sent_bytes} ${who}\n`;
}

const BEYOND_ASCII = /[\u007f-\uffff]/g;
const rounded = (value_ms: number): number => Math.round(value_ms * 10) / 10;

function json(access: Access): string {
  const { at_ms, node, vserver, client, clientPort, request, requestId, traceparent, status } = access;
  const { sent_bytes, received_bytes, webServer, response_ms, total_ms, end } = access;
  const record = {
    time: new Date(at_ms).toISOString(),
    node,
    vserver,
    client,
    client_port: clientPort,
    request: request?.line,
    host: request?.host,
    referer: request?.referer === "" ? undefined : request?.referer,
    user_agent: request?.userAgent === "" ? undefined : request?.userAgent,
    request_id: requestId === "" ? undefined : requestId,
    traceparent: traceparent === "" ? undefined : traceparent,
    status,
    sent_bytes,
    received_bytes: received_bytes === 0 ? undefined : received_bytes,
    web_server: webServer === "" ? undefined : webServer,
    response_ms: response_ms === undefined ? undefined : rounded(response_ms),
    total_ms: rounded(total_ms),
    end,
  };
  // The texts' char codes are bytes of whatever encoding: beyond ASCII they are escaped.
  const text = JSON.stringify(record).replace(
    BEYOND_ASCII,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
  return `${text}\n`;
}

/** A request's line, with its end; its char codes are bytes in either format. */
export function accessLine(format: AccessLogFormat, access: Access): string {
  return format === "json" ? json(access) : combined(access);
}
