/**
 * Sends the spans of this node's workers to a collector, once a second. A collector that is away or slow costs spans, which are counted
 * and told, and nothing else.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { describeError } from "../../conf/errors.ts";
import { TRACES_BATCH, TRACES_EVERY_MS, TRACES_TIMEOUT_MS, TRACES_WAITING } from "../../conf/limits.ts";
import type { RequestSpan, SpansReport } from "../../conf/messages.ts";
import type { Logger } from "../log.ts";
import { otlpJson, type Resource } from "./otlp.ts";

export interface ExporterOptions {
  /** Where they go now: it may be reloaded. Undefined: nowhere, and nobody is asked. */
  readonly endpoint: () => string | undefined;
  readonly resource: Resource;
  /** What the workers have kept since they were asked last. */
  readonly take: () => Promise<readonly SpansReport[]>;
  readonly log: Logger;
  readonly every_ms?: number;
}

/** Sends until closed. */
export function exportTraces(options: ExporterOptions): { readonly close: () => void } {
  const closing = new AbortController();
  void run(options, closing.signal);
  return { close: () => closing.abort() };
}

async function run(
  { endpoint, resource, take, log, every_ms = TRACES_EVERY_MS }: ExporterOptions,
  closing: AbortSignal,
): Promise<void> {
  let waiting: RequestSpan[] = [];
  let lost = 0;
  let complaint = "";
  while (!closing.aborted) {
    await sleep(every_ms, undefined, { ref: false });
    const url = endpoint();
    if (closing.aborted || url === undefined) continue;
    for (const { spans, dropped } of await take()) {
      waiting.push(...spans);
      lost += dropped;
    }
    lost += Math.max(0, waiting.length - TRACES_WAITING);
    waiting = waiting.slice(-TRACES_WAITING);
    const batch = waiting.slice(0, TRACES_BATCH);
    if (batch.length === 0) continue;
    const { isDone, reason } = await send(url, otlpJson(batch, resource), closing);
    if (isDone) waiting = waiting.slice(batch.length);
    if (isDone && reason !== "") lost += batch.length;
    if (reason !== "" && complaint === "") log.warn({ url, reason }, "traces can't be sent: some are lost");
    if (reason === "" && complaint !== "") log.info({ url, lost }, "traces are sent again");
    if (reason === "") lost = 0;
    complaint = reason;
  }
}

/** Done: it need not be sent again. What the collector refuses for good is given up; what it can't take now is tried again. */
async function send(
  url: string,
  body: string,
  closing: AbortSignal,
): Promise<{ readonly isDone: boolean; readonly reason: string }> {
  try {
    const response = await fetch(url, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body,
      redirect: "error",
      signal: AbortSignal.any([closing, AbortSignal.timeout(TRACES_TIMEOUT_MS)]),
    });
    await response.body?.cancel();
    if (response.ok) return { isDone: true, reason: "" };
    const isForNow = [429, 502, 503, 504].includes(response.status);
    return { isDone: !isForNow, reason: `the collector answers ${response.status}` };
  } catch (error) {
    return { isDone: false, reason: describeError(error) };
  }
}
