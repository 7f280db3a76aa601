/**
 * The way nodes ask one another: one line in, one line out, over TLS 1.2 with a pre-shared key (RFC 5489,
 * ECDHE-PSK: forward secret) that derives from the array key. Both sides prove that they hold the key, so no
 * certificates are needed between nodes, and a host without the key can neither ask nor answer.
 */
import { connect, createServer, type Server, type TLSSocket } from "node:tls";
import { DlbaError } from "../conf/errors.ts";
import { deriveKey } from "../conf/keys.ts";
import {
  CONTROL_CONNECTIONS,
  CONTROL_REQUEST_BYTES,
  CONTROL_TIMEOUT_MS,
  PUBLISH_LINE_BYTES,
} from "../conf/limits.ts";

const IDENTITY = "dlba";
const PSK_ONLY = {
  ciphers: "ECDHE-PSK-CHACHA20-POLY1305",
  minVersion: "TLSv1.2",
  maxVersion: "TLSv1.2",
} as const;

const controlKey = (arrayKey: Uint8Array): Buffer => deriveKey(arrayKey, "control", 32);

export interface ControlQuestion {
  readonly address: string;
  readonly port: number;
  readonly arrayKey: Uint8Array;
  /** The question, without its line feed. */
  readonly line: string;
  /** For the whole exchange: connecting, handshake, question and answer. */
  readonly timeout_ms: number;
}

/**
 * Asks one node and resolves with its answer's line. The connection is closed after it.
 * Throws DlbaError: CONTROL_TIMEOUT, CONTROL_FAILED (can't be reached, or holds another key),
 * CONTROL_TOO_LONG, CONTROL_NO_ANSWER.
 */
export async function controlClient(question: ControlQuestion): Promise<string> {
  const psk = controlKey(question.arrayKey);
  const where = `${question.address} port ${question.port}`;
  const socket = connect({
    ...PSK_ONLY,
    host: question.address,
    port: question.port,
    pskCallback: () => ({ psk, identity: IDENTITY }),
    // A PSK handshake has no certificate: the key itself is the proof.
    checkServerIdentity: () => undefined,
  });
  const timer = setTimeout(
    () =>
      socket.destroy(
        new DlbaError("CONTROL_TIMEOUT", `${where} gave no answer within ${question.timeout_ms} ms`),
      ),
    question.timeout_ms,
  );
  try {
    socket.write(`${question.line}\n`);
    return await readLine(socket, PUBLISH_LINE_BYTES, where);
  } catch (cause) {
    if (cause instanceof DlbaError) throw cause;
    throw new DlbaError("CONTROL_FAILED", `${where} can't be asked`, { cause });
  } finally {
    clearTimeout(timer);
    socket.destroy();
  }
}

/** The first line that arrives, at most `bound_bytes` long. */
function readLine(socket: TLSSocket, bound_bytes: number, where: string): Promise<string> {
  const chunks: Buffer[] = [];
  let size_bytes = 0;
  return new Promise((resolve, reject) => {
    socket.on("data", (chunk: Buffer) => {
      const end = chunk.indexOf(10);
      chunks.push(end === -1 ? chunk : chunk.subarray(0, end));
      size_bytes += end === -1 ? chunk.length : end;
      if (size_bytes > bound_bytes) {
        reject(new DlbaError("CONTROL_TOO_LONG", `${where} sent a line of more than ${bound_bytes} bytes`));
      } else if (end !== -1) resolve(Buffer.concat(chunks).toString("utf8"));
    });
    socket.on("error", reject);
    socket.on("close", () =>
      reject(new DlbaError("CONTROL_NO_ANSWER", `${where} closed the connection without an answer`)),
    );
  });
}

export interface ControlService {
  readonly address: string;
  /** 0 picks a free one (for tests). */
  readonly port: number;
  readonly arrayKey: Uint8Array;
  /** Answers one line with one line; when it throws, the connection is closed without an answer. */
  readonly handle: (line: string) => Promise<string>;
}
export interface ControlServer {
  readonly port: number;
  close(): Promise<void>;
}

/** Listens for questions of other nodes. Rejects when the address can't be bound. */
export async function controlServer(service: ControlService): Promise<ControlServer> {
  const psk = controlKey(service.arrayKey);
  const server = createServer({
    ...PSK_ONLY,
    handshakeTimeout: CONTROL_TIMEOUT_MS,
    pskCallback: (_socket, identity) => (identity === IDENTITY ? psk : null),
  });
  const open = new Set<TLSSocket>();
  server.maxConnections = CONTROL_CONNECTIONS;
  server.on("secureConnection", (socket) => {
    open.add(socket);
    socket.once("close", () => open.delete(socket));
    void answerOne(socket, service.handle);
  });
  await listening(server, service);
  const bound = server.address();
  return {
    port: typeof bound === "object" && bound !== null ? bound.port : service.port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of open) socket.destroy();
      }),
  };
}

function listening(server: Server, service: ControlService): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen({ host: service.address, port: service.port }, () => {
      server.off("error", reject);
      // A later accept error (too many descriptors) must not end the process.
      server.on("error", () => undefined);
      resolve();
    });
  });
}

async function answerOne(socket: TLSSocket, handle: ControlService["handle"]): Promise<void> {
  const timer = setTimeout(() => socket.destroy(), CONTROL_TIMEOUT_MS);
  socket.once("close", () => clearTimeout(timer));
  try {
    const line = await readLine(socket, CONTROL_REQUEST_BYTES, "a node");
    socket.end(`${await handle(line)}\n`);
  } catch {
    socket.destroy();
  }
}
