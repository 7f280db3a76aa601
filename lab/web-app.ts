/**
 * The application on a lab's web servers, for what files can't show. Run as `node lab/web-app.ts PORT`.
 *
 * - `/app/sha256`: reads the request body, answers its length and SHA-256 as JSON.
 * - `/app/echo`: sends the request body back as it comes, chunked.
 * - `/app/slow?ms=N`: answers after N milliseconds.
 * - `/app/chunked?n=N&ms=M`: N chunks of a line each, M milliseconds apart.
 * - `/app/headers`: the request line and headers that arrived, as JSON.
 */
import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { pipeline } from "node:stream/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { describeError } from "../conf/errors.ts";

type Handler = (request: IncomingMessage, response: ServerResponse, query: URLSearchParams) => Promise<void>;

const HANDLERS: Readonly<Record<string, Handler>> = {
  "/app/sha256": async (request, response) => {
    const hash = createHash("sha256");
    let size_bytes = 0;
    for await (const piece of request as AsyncIterable<Buffer>) {
      size_bytes += piece.length;
      hash.update(piece);
    }
    sendJson(response, { size_bytes, sha256: hash.digest("hex") });
  },
  "/app/echo": async (request, response) => pipeline(request, response),
  "/app/slow": async (_request, response, query) => {
    await sleep(Number(query.get("ms") ?? 1000));
    response.end("slow\n");
  },
  "/app/chunked": async (_request, response, query) => {
    const count = Number(query.get("n") ?? 10);
    for (let i = 0; i < count; i++) {
      response.write(`chunk ${i}\n`);
      await sleep(Number(query.get("ms") ?? 0));
    }
    response.end();
  },
  "/app/headers": async (request, response) => {
    const { method, url, httpVersion, rawHeaders } = request;
    sendJson(response, { method, url, httpVersion, rawHeaders });
  },
};

function sendJson(response: ServerResponse, value: unknown): void {
  response.setHeader("content-type", "application/json");
  response.end(`${JSON.stringify(value)}\n`);
}

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { pathname, searchParams } = new URL(request.url ?? "/", "http://localhost");
  const handler = HANDLERS[pathname];
  if (handler === undefined) {
    response.statusCode = 404;
    response.end(`no such path; there is ${Object.keys(HANDLERS).join(", ")}\n`);
    return;
  }
  try {
    await handler(request, response, searchParams);
  } catch (error) {
    console.error(`${pathname}: ${describeError(error)}`);
    response.destroy();
  }
}

createServer((request, response) => void answer(request, response)).listen(
  Number(process.argv[2]),
  "127.0.0.1",
);
