/** Spans in the form of OTLP/HTTP with JSON (OpenTelemetry protocol 1.x), with the names of its semantic conventions. Pure. */
import type { RequestSpan } from "../../conf/messages.ts";

export interface Resource {
  readonly array: string;
  readonly node: string;
  readonly version: string;
}

interface Attribute {
  readonly key: string;
  readonly value: { readonly stringValue: string } | { readonly intValue: string };
}

const text = (key: string, value: string): Attribute[] =>
  value === "" ? [] : [{ key, value: { stringValue: value } }];
/** 64 bits are text in the JSON of protocol buffers. */
const whole = (key: string, value: number): Attribute => ({ key, value: { intValue: String(value) } });

/** A request's span is the server's. */
const KIND_SERVER = 2;
const STATUS_ERROR = 2;

/** The body of one export. */
export function otlpJson(spans: readonly RequestSpan[], { array, node, version }: Resource): string {
  const resource = {
    attributes: [
      ...text("service.name", "dlba"),
      ...text("service.namespace", array),
      ...text("service.instance.id", node),
      ...text("service.version", version),
    ],
  };
  const scopeSpans = [{ scope: { name: "dlba-server", version }, spans: spans.map(spanOf) }];
  return JSON.stringify({ resourceSpans: [{ resource, scopeSpans }] });
}

function spanOf(span: RequestSpan): object {
  const { began_ms, total_ms, response_ms, status, method, end } = span;
  const isError = status >= 500 || end === "cut";
  return {
    traceId: span.trace_id,
    spanId: span.span_id,
    ...(span.parent_id === "" ? {} : { parentSpanId: span.parent_id }),
    name: method === "" ? "HTTP" : method,
    kind: KIND_SERVER,
    startTimeUnixNano: nanoseconds(began_ms),
    endTimeUnixNano: nanoseconds(began_ms + total_ms),
    attributes: [
      ...text("http.request.method", method === "" ? "_OTHER" : method),
      ...text("url.scheme", span.scheme),
      ...text("url.path", span.path),
      ...text("client.address", span.client),
      ...(status === 0 ? [] : [whole("http.response.status_code", status)]),
      ...text("error.type", isError ? (end === "cut" ? "cut" : String(status)) : ""),
      ...text("dlba.vserver", span.vserver),
      ...text("dlba.web_server", span.web_server),
      ...text("dlba.end", end),
    ],
    events:
      response_ms === null
        ? []
        : [{ timeUnixNano: nanoseconds(began_ms + response_ms), name: "response head of the web server" }],
    status: isError ? { code: STATUS_ERROR } : {},
  };
}

/** Unix time in ms, to the microsecond: more does not fit into a number. */
const nanoseconds = (at_ms: number): string => `${Math.round(at_ms * 1000)}000`;
