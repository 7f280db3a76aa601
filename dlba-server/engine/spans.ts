/**
 * Requests of which a trace is kept: one in so many, chosen by the trace's own id, so that all who see a trace choose alike. They are
 * kept until the status process fetches them; when there are too many, the further ones are counted.
 */
import { randomBytes } from "node:crypto";
import { SPAN_PATH_CHARACTERS, SPANS_KEPT } from "../../conf/limits.ts";
import type { RequestSpan, SpansReport } from "../../conf/messages.ts";
import type { LoggedRequest } from "../http/logged.ts";

export interface Spans {
  readonly one_in: number;
  kept: RequestSpan[];
  dropped: number;
}

export const createSpans = (one_in: number): Spans => ({ one_in, kept: [], dropped: 0 });

/** What is known of a request that is over. */
interface Over extends Omit<RequestSpan, "trace_id" | "span_id" | "parent_id" | "method" | "path"> {
  readonly request: LoggedRequest | null;
  readonly traceparent: string;
  /** Whether the traceparent was made here. */
  readonly isNewTrace: boolean;
}

const SAMPLED = 1;

/** A valid traceparent has its ids and flags at fixed places (W3C Trace Context, 3.2). Half of a trace id is random at least. */
export function isTraced(one_in: number, traceparent: string): boolean {
  if (traceparent === "" || (Number.parseInt(traceparent.slice(53, 55), 16) & SAMPLED) === 0) return false;
  return Number.parseInt(traceparent.slice(27, 35), 16) < 2 ** 32 / one_in;
}

/** Keeps it; `traceparent` has been found to be traced. */
export function noteSpan(spans: Spans, over: Over): void {
  if (spans.kept.length >= SPANS_KEPT) {
    spans.dropped++;
    return;
  }
  const { request, traceparent, isNewTrace, ...rest } = over;
  const named = traceparent.slice(36, 52);
  spans.kept.push({
    ...rest,
    trace_id: traceparent.slice(3, 35),
    // A trace that was made here begins with this span; else it hangs on the one that the client named.
    span_id: isNewTrace ? named : randomBytes(8).toString("hex"),
    parent_id: isNewTrace ? "" : named,
    ...targetOf(request?.line ?? ""),
  });
}

/** Method and path, without the query: what people type into forms stays out of traces. */
function targetOf(line: string): { method: string; path: string } {
  const [, method = "", path = ""] = /^([A-Z-]{1,32}) (\/[^ ?#]*)?/.exec(line) ?? [];
  return { method, path: path.slice(0, SPAN_PATH_CHARACTERS) };
}

/** Hands them over. */
export function takeSpans(spans: Spans | undefined): SpansReport {
  if (spans === undefined) return { kind: "spans", spans: [], dropped: 0 };
  const { kept, dropped } = spans;
  spans.kept = [];
  spans.dropped = 0;
  return { kind: "spans", spans: kept, dropped };
}
