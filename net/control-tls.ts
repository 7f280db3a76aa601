/**
 * The way nodes talk to one another: TLS with a pre-shared key that derives from the array key. Both sides prove that they hold
 * the key, so no certificates are needed between nodes, and a host without the key can neither ask nor answer. While the key is
 * being changed, both are heard; its id tells which one is meant. A question is one line in, one line out; a stream stays open
 * and carries lines both ways.
 */
import type { TLSSocket } from "node:tls";
import { DlbaError } from "../conf/errors.ts";
import { deriveAlso, deriveKey, keyId, type ArrayKey } from "../conf/keys.ts";
import {
  CONTROL_CONNECTIONS,
  CONTROL_REQUEST_BYTES,
  CONTROL_TIMEOUT_MS,
  PUBLISH_LINE_BYTES,
} from "../conf/limits.ts";
import { lineReader } from "./lines.ts";
import { connectPsk, listenPsk, type PskServer } from "./psk-tls.ts";

const PSK_BYTES = 32;
const identityOf = (key: Uint8Array): string => `dlba/${keyId(key)}`;

/** The key of a node that speaks with the array key of this id, as far as we hear that. */
function heardKey(arrayKey: ArrayKey, identity: string): Buffer | null {
  const { current, also } = arrayKey;
  if (identity === identityOf(current)) return deriveKey(arrayKey, "control", PSK_BYTES);
  if (also === undefined || identity !== identityOf(also)) return null;
  return deriveAlso(arrayKey, "control", PSK_BYTES) ?? null;
}

interface ControlTarget {
  readonly address: string;
  readonly port: number;
  readonly arrayKey: ArrayKey;
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
    throw failed(where, `${where} can't be asked`, cause);
  } finally {
    clearTimeout(timer);
    socket.destroy();
  }
}

const placeOf = ({ address, port }: ControlTarget): string => `${address} port ${port}`;

function connectTo({ address, port, arrayKey }: ControlTarget): TLSSocket {
  const psk = deriveKey(arrayKey, "control", PSK_BYTES);
  return connectPsk(address, port, { identity: identityOf(arrayKey.current), psk });
}

/** OpenSSL's words say little to who does not know that the array key is what was refused. */
function failed(where: string, text: string, cause: unknown): DlbaError {
  const isOtherKey =
    cause instanceof Error && /unknown psk identity|decrypt error|bad record mac/i.test(cause.message);
  if (!isOtherKey) return new DlbaError("CONTROL_FAILED", text, { cause });
  return new DlbaError("CONTROL_FAILED", `${where} has another array key`, { hint: "see: dlba key show" });
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
  readonly arrayKey: ArrayKey;
}
export interface ControlService extends ControlPlace {
  /** Answers one line with one line; when it throws, the connection is closed without an answer. */
  readonly handle: (line: string) => Promise<string>;
  /** Where others than the usual bounds hold: of a question's line, of one exchange, and of how many there are at once. */
  readonly request_bytes?: number;
  readonly timeout_ms?: number;
  readonly connections?: number;
}
export type ControlServer = PskServer;

/** Listens for questions of other nodes. Rejects when the address can't be bound. */
export function controlServer(service: ControlService): Promise<ControlServer> {
  return serve(
    service,
    service.connections ?? CONTROL_CONNECTIONS,
    (socket) => void answerOne(socket, service),
  );
}

const serve = (
  { address, port, arrayKey }: ControlPlace,
  connections: number,
  onSocket: (socket: TLSSocket) => void,
): Promise<PskServer> =>
  listenPsk({ address, port, connections, onSocket, keyOf: (identity) => heardKey(arrayKey, identity) });

async function answerOne(socket: TLSSocket, service: ControlService): Promise<void> {
  const { handle, request_bytes = CONTROL_REQUEST_BYTES, timeout_ms = CONTROL_TIMEOUT_MS } = service;
  const timer = setTimeout(() => socket.destroy(), timeout_ms);
  socket.once("close", () => clearTimeout(timer));
  try {
    const line = await readLine(socket, request_bytes, "a node");
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
    else fail(failed(where, `the connection with ${where} failed`, cause));
  });
  socket.on("close", () => events.onClose(reason));
}
