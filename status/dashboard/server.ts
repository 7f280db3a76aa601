/** The dashboard over HTTP(S): its page for everybody, its stream for who says the token. Read-only, and bounded all round. */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import { DlbaError } from "../../conf/errors.ts";
import {
  DASHBOARD_CONNECTIONS,
  DASHBOARD_STREAMS,
  METRICS_HEAD_BYTES,
  METRICS_TIMEOUT_MS,
} from "../../conf/limits.ts";
import { readAdmission, tokenStamp, type Admits } from "../access.ts";
import type { Logger } from "../log.ts";
import { served, type Served } from "../served.ts";
import { readTlsFiles, renewTls } from "../tls-files.ts";
import { pageAssets, type Asset } from "./assets.ts";
import type { Hub } from "./hub.ts";

export interface DashboardSettings {
  readonly address: string;
  /** 0 picks a free one (for tests). */
  readonly port: number;
  readonly token_file: string;
  readonly certificate?: string | undefined;
  readonly key?: string | undefined;
}

/** Nothing from elsewhere is loaded, run, embedded or sent to. */
const HEADERS = {
  "Content-Security-Policy":
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Resource-Policy": "same-origin",
  "Referrer-Policy": "no-referrer",
  "X-Content-Type-Options": "nosniff",
} as const;

/** Serves nothing until a configuration says where. */
export function dashboardService(hub: Hub, log: Logger): Served {
  return served(
    {
      name: "the dashboard is",
      settingsOf: ({ dashboard }) => dashboard,
      open: (settings) => dashboardServer(settings, hub, log),
      stampOf: ({ token_file }) => tokenStamp(token_file),
    },
    log,
  );
}

interface Serving {
  readonly hub: Hub;
  readonly admits: Admits;
  readonly assets: ReadonlyMap<string, Asset>;
  readonly log: Logger;
  /** When somebody was last turned away, so that the log is not filled. */
  told_ms: number;
}

/** Serves until closed. Rejects with DlbaError DASHBOARD_UNUSABLE when it can't listen there, and with what is wrong with the files. */
export async function dashboardServer(
  settings: DashboardSettings,
  hub: Hub,
  log: Logger,
): Promise<{ readonly port: number; readonly close: () => Promise<void> }> {
  const { certificate, key } = settings;
  const files = certificate === undefined || key === undefined ? undefined : { certificate, key };
  const serving: Serving = {
    hub,
    admits: readAdmission(settings.token_file),
    assets: pageAssets(),
    log,
    told_ms: -Infinity,
  };
  const bounds = {
    maxHeaderSize: METRICS_HEAD_BYTES,
    headersTimeout: METRICS_TIMEOUT_MS,
    requestTimeout: METRICS_TIMEOUT_MS,
    connectionsCheckingInterval: METRICS_TIMEOUT_MS / 4,
  };
  const answer = (request: IncomingMessage, response: ServerResponse): void =>
    serve(serving, request, response);
  const tls =
    files === undefined ? undefined : createTlsServer({ ...bounds, ...readTlsFiles(files) }, answer);
  const server = tls ?? createServer(bounds, answer);
  server.maxConnections = DASHBOARD_CONNECTIONS;
  // A reader that takes nothing is cut off, too.
  server.setTimeout(METRICS_TIMEOUT_MS);
  await listen(server, settings);
  if (tls !== undefined && files !== undefined) renewTls(tls, files, log);
  const bound = server.address();
  return {
    port: typeof bound === "object" && bound !== null ? bound.port : settings.port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function listen(
  server: ReturnType<typeof createServer>,
  { address, port }: DashboardSettings,
): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", (cause) => {
      const text = `the dashboard can't be served on ${address} port ${port}`;
      reject(new DlbaError("DASHBOARD_UNUSABLE", text, { cause }));
    });
    server.listen(port, address, () => {
      // A later accept error (too many descriptors) must not end the process.
      server.removeAllListeners("error").on("error", () => undefined);
      resolve();
    });
  });
}

function serve(serving: Serving, request: IncomingMessage, response: ServerResponse): void {
  const path = request.url?.split("?", 1)[0] ?? "";
  const asset = serving.assets.get(path);
  if (asset === undefined && path !== "/stream") return refuse(response, 404, "There is nothing here.");
  const isHead = request.method === "HEAD" && asset !== undefined;
  if (request.method !== "GET" && !isHead) return refuse(response, 405, "GET alone.");
  if (asset === undefined) stream(serving, request, response);
  else give(asset, request, response);
}

function give(asset: Asset, { headers, method }: IncomingMessage, response: ServerResponse): void {
  const common = { ...HEADERS, "Cache-Control": "no-cache", ETag: asset.etag, Vary: "Accept-Encoding" };
  if (headers["if-none-match"] === asset.etag) return void response.writeHead(304, common).end();
  const isGzipped = /\bgzip\b/.test(headers["accept-encoding"]?.toString() ?? "");
  const body = isGzipped ? asset.gzipped : asset.body;
  response.writeHead(200, {
    ...common,
    ...(isGzipped ? { "Content-Encoding": "gzip" } : {}),
    "Content-Type": asset.type,
    "Content-Length": body.length,
  });
  response.end(method === "HEAD" ? undefined : body);
}

/** The token comes in a header, so it stands in no address that somebody logs. */
function stream(serving: Serving, request: IncomingMessage, response: ServerResponse): void {
  const token = /^Bearer ([!-~]+)$/.exec(request.headers.authorization ?? "")?.[1];
  if (token === undefined || !serving.admits(token)) {
    tellRefusal(serving, request.socket.remoteAddress ?? "");
    return refuse(response, 401, "The right token is needed.", { "WWW-Authenticate": "Bearer" });
  }
  if (serving.hub.watchers() >= DASHBOARD_STREAMS) {
    return refuse(response, 503, `${DASHBOARD_STREAMS} watch already.`, { "Retry-After": "10" });
  }
  response.writeHead(200, {
    ...HEADERS,
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",
  });
  const leave = serving.hub.watch({
    send: (text) => void response.write(text),
    waiting_bytes: () => response.writableLength,
    end: () => response.destroy(),
  });
  response.once("close", leave);
}

const TELL_EVERY_MS = 60_000;

function tellRefusal(serving: Serving, address: string): void {
  const now_ms = performance.now();
  if (now_ms - serving.told_ms < TELL_EVERY_MS) return;
  serving.told_ms = now_ms;
  serving.log.warn({ address }, "somebody without the right token was refused the dashboard");
}

function refuse(
  response: ServerResponse,
  status: number,
  text: string,
  headers: Readonly<Record<string, string>> = {},
): void {
  const allow = status === 405 ? { Allow: "GET" } : {};
  response.writeHead(status, {
    ...HEADERS,
    "Content-Type": "text/plain; charset=utf-8",
    ...allow,
    ...headers,
  });
  response.end(`${text}\n`);
}
