/** The HTTP endpoint for scrapers: GET /metrics and nothing else, bounded in connections and time. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { pipeline, Readable } from "node:stream";
import { describeError, DlbaError } from "../../conf/errors.ts";
import { METRICS_CONNECTIONS, METRICS_HEAD_BYTES, METRICS_TIMEOUT_MS } from "../../conf/limits.ts";
import type { Logger } from "../log.ts";
import { CONTENT_TYPES, expositionFor, expositionPieces, type Family } from "./exposition.ts";

export interface MetricsOptions {
  readonly address: string;
  readonly port: number;
  readonly families: () => Promise<readonly Family[]>;
  readonly log: Logger;
}
export interface MetricsServer {
  readonly port: number;
  readonly close: () => Promise<void>;
}

/** Serves until closed. Throws DlbaError METRICS_UNUSABLE when it can't listen there. */
export async function metricsServer(options: MetricsOptions): Promise<MetricsServer> {
  const server = createServer(
    {
      maxHeaderSize: METRICS_HEAD_BYTES,
      headersTimeout: METRICS_TIMEOUT_MS,
      requestTimeout: METRICS_TIMEOUT_MS,
      connectionsCheckingInterval: METRICS_TIMEOUT_MS / 4,
    },
    (request, response) => void serve(options, request, response),
  );
  server.maxConnections = METRICS_CONNECTIONS;
  // A reader that takes nothing of its answer is cut off, too.
  server.setTimeout(METRICS_TIMEOUT_MS);
  await listen(server, options);
  return {
    port: portOf(server),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function portOf(server: Server): number {
  const address = server.address();
  return typeof address === "object" && address !== null ? address.port : 0;
}

function listen(server: Server, { address, port }: MetricsOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", (cause) =>
      reject(
        new DlbaError("METRICS_UNUSABLE", `no metrics can be served on ${address} port ${port}`, { cause }),
      ),
    );
    server.listen(port, address, () => {
      server.removeAllListeners("error").on("error", () => undefined);
      resolve();
    });
  });
}

async function serve(
  options: MetricsOptions,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const path = request.url?.split("?", 1)[0];
  if (path !== "/metrics") return refuse(response, 404, "Metrics are at /metrics.");
  if (request.method !== "GET" && request.method !== "HEAD") return refuse(response, 405, "GET alone.");
  try {
    const form = expositionFor(request.headers.accept);
    const families = await options.families();
    response.writeHead(200, { "Content-Type": CONTENT_TYPES[form], "Cache-Control": "no-store" });
    if (request.method === "HEAD") return void response.end();
    // Pieces are made as they are read.
    pipeline(Readable.from(expositionPieces(families, form)), response, () => undefined);
  } catch (error) {
    options.log.error({ reason: describeError(error) }, "metrics could not be made");
    if (response.headersSent) response.destroy();
    else refuse(response, 500, "Metrics could not be made; see the log.");
  }
}

function refuse(response: ServerResponse, status: number, text: string): void {
  const headers = {
    "Content-Type": "text/plain; charset=utf-8",
    ...(status === 405 ? { Allow: "GET, HEAD" } : {}),
  };
  response.writeHead(status, headers).end(`${text}\n`);
}
