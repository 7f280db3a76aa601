/**
 * The way nodes talk to one another: TLS 1.2 with a pre-shared key (RFC 5489, ECDHE-PSK: forward secret) that
 * derives from the array key. Both sides prove that they hold the key, so no certificates are needed between
 * nodes, and a host without the key can neither ask nor answer. A question is one line in, one line out; a
 * stream stays open and carries lines both ways.
 */
import type { Socket } from "node:net";
import { connect, createServer, type Server, type TLSSocket } from "node:tls";
import { DlbaError } from "../conf/errors.ts";
import { deriveKey } from "../conf/keys.ts";
import {
  CONTROL_CONNECTIONS,
  CONTROL_REQUEST_BYTES,
  CONTROL_TIMEOUT_MS,
  PUBLISH_LINE_BYTES,
} from "../conf/limits.ts";
import { lineReader } from "./lines.ts";

const IDENTITY = "dlba";
const PSK_ONLY = {
  ciphers: "ECDHE-PSK-CHACHA20-POLY1305",
  minVersion: "TLSv1.2",
  maxVersion: "TLSv1.2",
} as const;

const controlKey = (arrayKey: Uint8Array): Buffer => deriveKey(arrayKey, "control", 32);

interface ControlTarget {
  readonly address: string;
  readonly port: number;
  readonly arrayKey: Uint8Array;
}
export interface ControlQuestion extends ControlTarget {
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
  const where = placeOf(question);
  const socket = connectTo(question);
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

const placeOf = ({ address, port }: ControlTarget): string => `${address} port ${port}`;

function connectTo({ address, port, arrayKey }: ControlTarget): TLSSocket {
  const psk = controlKey(arrayKey);
  return connect({
    ...PSK_ONLY,
    host: address,
    port,
    pskCallback: () => ({ psk, identity: IDENTITY }),
    // A PSK handshake has no certificate: the key itself is the proof.
    checkServerIdentity: () => undefined,
  });
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

interface ControlPlace {
  readonly address: string;
  /** 0 picks a free one (for tests). */
  readonly port: number;
  readonly arrayKey: Uint8Array;
}
export interface ControlService extends ControlPlace {
  /** Answers one line with one line; when it throws, the connection is closed without an answer. */
  readonly handle: (line: string) => Promise<string>;
}
export interface ControlServer {
  readonly port: number;
  /** Ends all connections; resolves when the port is free. */
  close(): Promise<void>;
}

/** Listens for questions of other nodes. Rejects when the address can't be bound. */
export function controlServer(service: ControlService): Promise<ControlServer> {
  return serve(service, CONTROL_CONNECTIONS, (socket) => void answerOne(socket, service.handle));
}

async function serve(
  place: ControlPlace,
  connections: number,
  onSocket: (socket: TLSSocket) => void,
): Promise<ControlServer> {
  const psk = controlKey(place.arrayKey);
  const server = createServer({
    ...PSK_ONLY,
    handshakeTimeout: CONTROL_TIMEOUT_MS,
    pskCallback: (_socket, identity) => (identity === IDENTITY ? psk : null),
  });
  const open = new Set<Socket>();
  const keep = (socket: Socket): void => {
    open.add(socket);
    socket.once("close", () => open.delete(socket));
  };
  server.maxConnections = connections;
  // Those that never end their handshake, too: closing must not wait for them.
  server.on("connection", keep);
  server.on("secureConnection", (socket) => {
    keep(socket);
    onSocket(socket);
  });
  await listening(server, place);
  const bound = server.address();
  return {
    port: typeof bound === "object" && bound !== null ? bound.port : place.port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of open) socket.destroy();
      }),
  };
}

function listening(server: Server, place: ControlPlace): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen({ host: place.address, port: place.port }, () => {
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

/** What the user of a stream hears of it. */
export interface StreamEvents {
  /** A line without its line feed. A DlbaError that this throws closes the stream and is its reason. */
  readonly onLine: (line: string) => void;
  /** Once; without a reason when one of the two sides ended the stream in good order. */
  readonly onClose: (reason: DlbaError | undefined) => void;
}
export interface ControlStream {
  /** The other side's address and port, for logs. */
  readonly where: string;
  /** Bytes that the system has not taken yet: who sends has to keep an eye on them. */
  queued_bytes(): number;
  /** Sends text that ends with a line feed; `onTaken` is called when the system has taken it all. */
  send(text: string, onTaken?: () => void): void;
  /** Sends what is left (and `lastText`), then closes. */
  end(lastText?: string): void;
  /** Closes at once. */
  destroy(): void;
}

export interface StreamTarget extends ControlTarget {
  /** The longest line that is taken from the other side. */
  readonly line_bytes: number;
  /** For connecting and the handshake. */
  readonly connect_timeout_ms: number;
}

/**
 * Opens a stream to another node. What is sent before it is open is kept. It does not keep the process from
 * ending. Reasons of its end: CONTROL_TIMEOUT, CONTROL_FAILED (can't be reached, holds another key, has reset
 * the connection), CONTROL_TOO_LONG, and what `onLine` throws.
 */
export function controlStream(target: StreamTarget, events: StreamEvents): ControlStream {
  const socket = connectTo(target);
  socket.unref();
  const where = placeOf(target);
  const timer = setTimeout(() => {
    const text = `${where} could not be connected within ${target.connect_timeout_ms} ms`;
    socket.destroy(new DlbaError("CONTROL_TIMEOUT", text));
  }, target.connect_timeout_ms).unref();
  socket.once("secureConnect", () => clearTimeout(timer));
  socket.once("close", () => clearTimeout(timer));
  const stream = streamOver(socket, where);
  carry(socket, where, target.line_bytes, events);
  return stream;
}

export interface StreamService extends ControlPlace {
  readonly line_bytes: number;
  /** Streams at once; further ones are closed. */
  readonly connections: number;
  /** A node that holds the array key has opened a stream. */
  readonly onStream: (stream: ControlStream) => StreamEvents;
}

/** Listens for streams of other nodes. Rejects when the address can't be bound. */
export function controlStreamServer(service: StreamService): Promise<ControlServer> {
  return serve(service, service.connections, (socket) => {
    const where = `${socket.remoteAddress} port ${socket.remotePort}`;
    carry(socket, where, service.line_bytes, service.onStream(streamOver(socket, where)));
  });
}

function streamOver(socket: TLSSocket, where: string): ControlStream {
  // Lines are answered at once, so none may wait for the acknowledgement of the one before.
  socket.setNoDelay(true);
  return {
    where,
    queued_bytes: () => socket.writableLength,
    send: (text, onTaken) => {
      if (!socket.writable) return;
      socket.write(text, (error) => {
        if (!error) onTaken?.();
      });
    },
    end: (lastText) => {
      if (!socket.writable) return void socket.destroy();
      if (lastText === undefined) socket.end();
      else socket.end(lastText);
      // A peer that doesn't read must not keep it open.
      const timer = setTimeout(() => socket.destroy(), CONTROL_TIMEOUT_MS).unref();
      socket.once("close", () => clearTimeout(timer));
    },
    destroy: () => void socket.destroy(),
  };
}

/** Hands the lines of a socket to its user, and tells once why it ended. */
function carry(socket: TLSSocket, where: string, line_bytes: number, events: StreamEvents): void {
  let reason: DlbaError | undefined;
  const fail = (error: DlbaError): void => {
    reason ??= error;
    socket.destroy();
  };
  const onLine = (line: string): void => {
    if (socket.destroyed || socket.writableEnded) return;
    try {
      events.onLine(line);
    } catch (error) {
      if (!(error instanceof DlbaError)) throw error;
      fail(error);
    }
  };
  const tooLong = `${where} sent a line of more than ${line_bytes} bytes`;
  const lines = lineReader(line_bytes, onLine, () => fail(new DlbaError("CONTROL_TOO_LONG", tooLong)));
  socket.on("data", lines.push);
  socket.on("error", (cause) => {
    if (cause instanceof DlbaError) fail(cause);
    else fail(new DlbaError("CONTROL_FAILED", `the connection with ${where} failed`, { cause }));
  });
  socket.on("close", () => events.onClose(reason));
}
