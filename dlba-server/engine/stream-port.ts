/** The port that the sessions of HTTP/2 streams speak to: that of all sessions, but for what their client gets. */
import { HTTP2_OUT_BYTES } from "../../conf/limits.ts";
import { head, scanResponseHead } from "../http/head.ts";
import { readResponse } from "../http/response.ts";
import { closeTunnel, endStream, resetStream, sendData } from "../http2/output.ts";
import { sendResponseHead } from "../http2/response-fields.ts";
import { CODE } from "../http2/wire.ts";
import type { SessionPort } from "../session-port.ts";
import { code } from "./coder.ts";
import { current, port } from "./port.ts";

/** A whole answer of the proxy's own, to be taken apart. */
const answer = Buffer.allocUnsafeSlow(HTTP2_OUT_BYTES);

function countSent(bytes: number): void {
  current.access.sent_bytes += bytes;
  current.client.vserver.counters.bytes_out += bytes;
}

/** Says an answer of the proxy's own, head and body; those are written for HTTP/1.1. */
function sayAnswer(text: string): void {
  const { client, stream, session } = current;
  const c = client.mux!.http2;
  const length = answer.latin1Write(text);
  scanResponseHead(answer, 0, length);
  if (!readResponse(answer, session.isHead) || stream === undefined || !stream.isOpen) return;
  countSent(sendResponseHead(c, stream, answer, "", null, ""));
  sayBytes(answer, head.end, length);
}

function sayBytes(bytes: Buffer, start: number, end: number): void {
  const { client, stream } = current;
  if (stream === undefined || !stream.isOpen || start === end) return;
  countSent(end - start);
  sendData(client.mux!.http2, stream, bytes, start, end);
}

export const streamPort: SessionPort = {
  ...port,
  clientText: sayAnswer,
  clientBytes: sayBytes,
  clientCoded: (bytes, start, end, step) => {
    if (current.coder !== undefined) code(current.coder, bytes, start, end, step, sayBytes);
  },
  clientHead: (bytes, edits, added) => {
    const { client, stream } = current;
    if (stream === undefined || !stream.isOpen) return;
    countSent(sendResponseHead(client.mux!.http2, stream, bytes, client.env.via, edits, added));
  },
  endClient: () => {
    const { client, stream } = current;
    if (stream !== undefined) endStream(client.mux!.http2, stream, "");
  },
  tunnelBegins: () => {
    port.tunnelBegins();
    if (current.stream !== undefined) current.stream.isTunnel = true;
  },
  closeClient: () => {
    const { client, stream, session } = current;
    if (stream?.isTunnel === true) return closeTunnel(client.mux!.http2, stream);
    // Trailers end with an empty line of theirs.
    if (stream !== undefined) endStream(client.mux!.http2, stream, session.responseTrailers.slice(0, -2));
  },
  // A web server that speaks HTTP/2, too, has said why.
  abortClient: () => reset(current.resetCode === 0 ? CODE.internalError : current.resetCode),
  refuseStream: () => reset(CODE.protocolError),
};

function reset(code: number): void {
  const { client, stream } = current;
  if (stream !== undefined) resetStream(client.mux!.http2, stream, code);
}
