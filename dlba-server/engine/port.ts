/**
 * What a session speaks to: what it says is staged for the client and the web server, what it wants is noted in its exchange,
 * and what it tells of is counted and logged. `exchange.ts` carries out the rest when the session's input has been handled.
 */
import { randomBytes } from "node:crypto";
import type { AccessEnd } from "../access-line.ts";
import { chooseServer, noteResponse } from "../choose.ts";
import { takeRetry } from "../pools/retry-budget.ts";
import { BY, CHOICE, type SessionPort } from "../session-port.ts";
import { closeCoder, code, createCoder } from "./coder.ts";
import { countAbort, countStatus } from "./counters.ts";
import { countCoder, hasTooMuch, mayCode } from "./load.ts";
import { watchOutcome } from "./outlier-watch.ts";
import { takeFromLimit } from "./rate-limits.ts";
import { isTraced, noteSpan, type Spans } from "./spans.ts";
import { noteRefusal } from "./refusals.ts";
import type { Exchange, PoolRuntime, Worker } from "./runtime.ts";
import { releaseServer } from "./server-connections.ts";
import { endStream, flushStage, stageBytes, stageText } from "./stream.ts";
import { countersOf, sayUpstream, sayUpstreamText } from "./upstream-streams.ts";
import { startWaiting } from "./waiting.ts";

/** The exchange whose session handles an input now: one at a time, so the port needs no object per exchange. */
export let current: Exchange;
let worker: Worker;
let isAborting = false;
/** The request that is being chosen for has waited, and may pass those who wait. */
let isTurn = false;

/** Where the request under way goes. */
export const poolOf = ({ client, session }: Exchange): PoolRuntime => client.vserver.pools[session.pool]!;

/** Gives the port its worker; a process has one. */
export function bindPort(theWorker: Worker): void {
  worker = theWorker;
}

/** An input of this exchange's session follows, then `settle`. */
export function enter(exchange: Exchange): void {
  current = exchange;
}

/** The session has asked for its client to be cut off: `wasCut` says so once. */
export const isCut = (): boolean => isAborting;
export function wasCut(): boolean {
  const was = isAborting;
  isAborting = false;
  return was;
}

/** The input that follows is the turn of an exchange that has waited. */
export function setTurn(isIt: boolean): void {
  isTurn = isIt;
}

export const port: SessionPort = {
  clientText: (text) => {
    current.access.sent_bytes += text.length;
    current.client.vserver.counters.bytes_out += text.length;
    stageText(worker.clientStage, current.client.stream, text, worker.now_ms);
  },
  clientBytes: (bytes, start, end) => {
    current.access.sent_bytes += end - start;
    current.client.vserver.counters.bytes_out += end - start;
    stageBytes(worker.clientStage, current.client.stream, bytes, start, end, worker.now_ms);
  },
  beginCoding: (coding) => {
    if (!mayCode(worker, coding)) return false;
    current.coder = createCoder(coding);
    countCoder(worker, coding, 1);
    return true;
  },
  clientCoded: (bytes, start, end, step) => {
    if (current.coder !== undefined) code(current.coder, bytes, start, end, step, sayChunk);
  },
  serverText: (text) => {
    if (current.server === undefined) {
      if (current.upstream !== undefined) sayUpstreamText(current.upstream, text);
      return;
    }
    countersOf(current.server).bytes_in += text.length;
    stageText(worker.serverStage, current.server.stream, text, worker.now_ms);
  },
  serverBytes: (bytes, start, end) => {
    if (current.server === undefined) {
      if (current.upstream !== undefined) sayUpstream(current.upstream, bytes, start, end);
      return;
    }
    countersOf(current.server).bytes_in += end - start;
    current.access.received_bytes += end - start;
    stageBytes(worker.serverStage, current.server.stream, bytes, start, end, worker.now_ms);
  },
  choose: (token, hash, tried) => {
    if (hasTooMuch(worker, current.client)) return CHOICE.shed;
    const { state, servers } = poolOf(current);
    const server = chooseServer(state, token, hash, tried, worker.now_ms, isTurn);
    if (tried.length > 0 && server >= 0) servers[tried.at(-1)!]!.counters.redispatches++;
    return server;
  },
  wait: () => startWaiting(worker, current, poolOf(current), isTurn),
  mayRetry: () => {
    const { servers, retryBudget } = poolOf(current);
    const requests = servers.reduce((sum, { counters }) => sum + counters.hits, 0);
    return takeRetry(retryBudget, requests, worker.now_ms);
  },
  connect: (server, mayReuse) => {
    current.wantedServer = server;
    current.wantsReuse = mayReuse;
    if (current.session.tries > 1) poolOf(current).servers[server]!.counters.retries++;
  },
  releaseServer: (isReusable) => releaseServer(worker, current, isReusable),
  clientHead: () => undefined,
  refuseStream: () => undefined,
  tunnelBegins: () => {
    current.access.isTunnel = true;
    worker.counters.tunnels++;
    worker.counters.open_tunnels++;
  },
  endClient: () => {
    flushStage(worker.clientStage, current.client.stream, worker.now_ms);
    endStream(current.client.stream, worker.now_ms);
  },
  endServer: () => {
    if (current.server === undefined) return;
    flushStage(worker.serverStage, current.server.stream, worker.now_ms);
    endStream(current.server.stream, worker.now_ms);
  },
  closeClient: () => {
    current.client.isClosing = true;
    current.client.lingers = !current.session.isRequestDone || current.session.hasUnread;
  },
  abortClient: () => {
    isAborting = true;
  },
  errorPage: (status) => current.client.vserver.errorPages.get(status),
  newTraceId: () => {
    current.access.isNewTrace = true;
    return randomBytes(24).toString("hex");
  },
  takeFromLimit: (rule) => takeFromLimit(worker, current, rule),
  newWebsocketKey: () => randomBytes(16).toString("base64"),
  newRequestId: () => {
    const { requestIds } = worker;
    return requestIds.prefix + (requestIds.count++).toString(16).padStart(12, "0");
  },
  requestBegins: () => {
    const { access } = current;
    access.began_ms = worker.now_ms;
    access.sent_bytes = 0;
    access.received_bytes = 0;
    access.status = 0;
    access.server = -1;
    access.response_ms = -1;
    access.isNewTrace = false;
    current.client.vserver.counters.requests++;
  },
  requestEnds: (end) => {
    endCoding(current);
    if (end !== "done") countAborted(end);
    logAccess(end);
    if (!current.access.isTunnel) return;
    current.access.isTunnel = false;
    worker.counters.open_tunnels--;
  },
  noteRefused,
  countRequest,
  countResponse,
  countServerFailure: (server) => {
    const pool = poolOf(current);
    pool.servers[server]!.counters.response_failures++;
    watchOutcome(worker, pool, server, true);
  },
  countOwnAnswer: (status) => {
    const answers = worker.counters.own_answers;
    answers.set(status, (answers.get(status) ?? 0) + 1);
    current.access.status = status;
    const { counters } = current.client.vserver;
    counters.own_answers++;
    if (status < 500) counters.refused_requests++;
    countClass(status);
  },
};

function countAborted(end: Exclude<AccessEnd, "done">): void {
  const { access, client } = current;
  countAbort(client.vserver.counters, poolOf(current).servers[access.server]?.counters, end);
}

/** A piece of a compressed response. */
function sayChunk(bytes: Buffer, start: number, end: number): void {
  port.clientText(`${(end - start).toString(16)}\r\n`);
  port.clientBytes(bytes, start, end);
  port.clientText("\r\n");
}

/** Frees what compressed an exchange's response. */
function endCoding(exchange: Exchange): void {
  if (exchange.coder === undefined) return;
  closeCoder(exchange.coder);
  countCoder(worker, exchange.coder.coding, -1);
  exchange.coder = undefined;
}

function countRequest(server: number, by: number): void {
  const { counters } = poolOf(current).servers[server]!;
  counters.hits++;
  if (by === BY.newCookie) counters.cookie_groups++;
  worker.counters.requests++;
  current.requestStart_ms = worker.now_ms;
  current.access.server = server;
}

function countResponse(server: number, status: number): void {
  countClass(status);
  countStatus(poolOf(current).servers[server]!.counters.responses, status);
  const { access } = current;
  access.status = status;
  access.response_ms = worker.now_ms - access.began_ms;
  if (current.requestStart_ms < 0) return;
  // The turns' times, not the clock's: two clock reads per request less, and the mean is as good.
  const took_us = (worker.now_ms - current.requestStart_ms) * 1000;
  current.requestStart_ms = -1;
  const pool = poolOf(current);
  if (pool.outliers !== undefined) watchOutcome(worker, pool, server, status >= 500);
  const { counters } = pool.servers[server]!;
  noteResponse(pool.state.servers[server]!, took_us / 1000);
  counters.response_time_sum_us += took_us;
  counters.response_time_count++;
  worker.counters.response_time_sum_us += took_us;
  worker.counters.response_time_count++;
}

function noteRefused(
  kind: "request" | "response",
  status: number,
  bytes: Buffer,
  start: number,
  end: number,
  isWhole: boolean,
): void {
  const {
    client: { env, vserver },
    server,
  } = current;
  const maxTarget = env.limits.request_target_bytes;
  const facts = {
    at_ms: Date.now(),
    vserver: vserver.name,
    client: env.clientAddress,
    client_port: env.clientPort,
    web_server:
      kind === "request" || server === undefined ? null : (server.pool.servers[server.index]?.id ?? null),
    status,
  };
  noteRefusal(worker.refusals, { kind, bytes, start, end, isWhole, maxTarget }, facts, worker.now_ms);
}

function logAccess(end: AccessEnd): void {
  const { accessLog, now_ms, nodeName } = worker;
  const {
    access,
    client: { env, vserver },
  } = current;
  if (worker.spans !== undefined) traceRequest(worker.spans, end);
  if (accessLog === undefined || !vserver.isLogged) return;
  const { logged, requestId, traceparent } = current.session;
  const { began_ms, status, sent_bytes, received_bytes, server, response_ms } = access;
  accessLog.note({
    at_ms: performance.timeOrigin + began_ms,
    node: nodeName,
    vserver: vserver.name,
    client: env.clientAddress,
    clientPort: env.clientPort,
    request: logged ?? undefined,
    requestId,
    traceparent,
    status,
    sent_bytes,
    received_bytes,
    webServer: poolOf(current).servers[server]?.id ?? "",
    response_ms: response_ms < 0 ? undefined : response_ms,
    total_ms: now_ms - began_ms,
    end,
  });
}

/** One in many: what is not sampled costs a look at its traceparent. */
function traceRequest(spans: Spans, end: AccessEnd): void {
  const {
    access,
    session: { logged, traceparent },
    client: { env, vserver },
  } = current;
  if (!isTraced(spans.one_in, traceparent)) return;
  const { began_ms, status, server, response_ms, isNewTrace } = access;
  noteSpan(spans, {
    request: logged,
    traceparent,
    isNewTrace,
    began_ms: performance.timeOrigin + began_ms,
    total_ms: worker.now_ms - began_ms,
    response_ms: response_ms < 0 ? null : response_ms,
    vserver: vserver.name,
    scheme: env.scheme,
    client: env.clientAddress,
    status,
    web_server: poolOf(current).servers[server]?.id ?? "",
    end,
  });
}

function countClass(status: number): void {
  countStatus(worker.counters.responses, status);
  countStatus(current.client.vserver.counters.responses, status);
}
