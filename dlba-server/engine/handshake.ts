/**
 * TLS handshakes of clients, step by step: their records go to OpenSSL one by one, and what it says goes to the client. When both agree
 * on TLS 1.3 the connection's records are ours from then on (records.ts); on TLS 1.2 OpenSSL gets the socket.
 *
 * OpenSSL knows one set of ticket keys per context, and a callback for any other would run JavaScript several times in each
 * handshake. Instead the ClientHello is looked at: where it brings a ticket of an older or newer key, the context has that key for
 * this one step. The ticket that the client gets in return is made in a later step, so always with the newest.
 */
import { findTicket, MORE_NEEDED, MOST_HELLO_BYTES } from "../client-hello.ts";
import { otherKeysFor, TICKET_NAME_BYTES } from "../ticket-keys.ts";
import {
  choseHttp2,
  clearSslErrors,
  contextOf,
  setTicketKeys,
  sslError,
  sslHandshake,
  sslSessionReused,
  SSL_ERROR_WANT_READ,
  SSL_ERROR_WANT_WRITE,
} from "../../net/openssl.ts";
import {
  attachToSocket,
  forgetGiven,
  give,
  isTls13,
  mostRecordBytes,
  output,
  secrets,
  suiteNumber,
  takeOutput,
} from "../../net/openssl-memory.ts";
import { suiteOf } from "../../net/openssl-aead.ts";
import { HEADER_BYTES, MOST_SEALED_BYTES, TYPE } from "../tls13/wire.ts";
import { END, FAILED } from "./reading.ts";
import { keep, type Records, sealed, sealNext, takeOver, unkeep, wire } from "./records.ts";
import type { ClientConnection, Worker } from "./runtime.ts";
import { receiveWire } from "./sealed-stream.ts";
import { sendWire, type Stream } from "./stream.ts";

/** How far a handshake has come. `refused`: OpenSSL says why. */
export const HANDSHAKE = { underWay: 0, done: 1, refused: 2, lost: 3 } as const;
export type HandshakeStep = (typeof HANDSHAKE)[keyof typeof HANDSHAKE];

/** What a finished handshake has agreed on. */
export const agreed = { isResumed: false, isHttp2: false };

/** Goes on with a client's handshake, by one read; there may be more to read then (`isReadable`). */
export function shakeHands(connection: ClientConnection, now_ms: number): HandshakeStep {
  const { records } = connection.stream;
  return records === undefined ? conclude(connection.stream) : shakeInMemory(connection, records, now_ms);
}

/** TLS 1.2: OpenSSL reads and writes by itself. */
function conclude({ ssl }: Stream): HandshakeStep {
  const result = sslHandshake(ssl);
  if (result === 1) noteAgreed(ssl);
  return result === 1 ? HANDSHAKE.done : judge(ssl, result);
}

function judge(ssl: number, result: number): HandshakeStep {
  const reason = sslError(ssl, result);
  const isUnderWay = reason === SSL_ERROR_WANT_READ || reason === SSL_ERROR_WANT_WRITE;
  return isUnderWay ? HANDSHAKE.underWay : HANDSHAKE.refused;
}

function noteAgreed(ssl: number): void {
  agreed.isResumed = sslSessionReused(ssl) === 1;
  agreed.isHttp2 = choseHttp2(ssl);
}

function shakeInMemory(connection: ClientConnection, records: Records, now_ms: number): HandshakeStep {
  const { stream } = connection;
  if (records.isOpenSsls) return leaveToOpenSsl(stream, records);
  const kept = unkeep(records);
  const end = receiveWire(stream, kept);
  if (end === END || end === FAILED) return HANDSHAKE.lost;
  if (end < 0) {
    keep(records, 0, kept);
    return HANDSHAKE.underWay;
  }
  const result = giveRecords(connection, records, end, now_ms);
  return records.isOpenSsls && result === HANDSHAKE.underWay ? leaveToOpenSsl(stream, records) : result;
}

/** How many of `wire[at, end)` go to OpenSSL next: a whole record, 0 when it isn't yet, or all where there is none for it to refuse. */
function pieceLength(at: number, end: number): number {
  const type = wire.bytes[at]!;
  if (type < TYPE.changeCipherSpec || type > TYPE.application) return end - at;
  if (end - at < HEADER_BYTES) return 0;
  const length = HEADER_BYTES + wire.bytes.readUInt16BE(at + 3);
  if (length > HEADER_BYTES + MOST_SEALED_BYTES) return end - at;
  return length <= end - at ? length : 0;
}

/** Gives OpenSSL `wire[0, end)`, record by record, as long as they are the handshake's. */
function giveRecords(
  connection: ClientConnection,
  records: Records,
  end: number,
  now_ms: number,
): HandshakeStep {
  const { stream } = connection;
  let at = 0;
  while (at < end) {
    const length = pieceLength(at, end);
    if (length === 0) break;
    const result = step(connection, records, at, length, now_ms);
    at += length;
    if (result === HANDSHAKE.refused) return result;
    // Nothing can come behind a ClientHello of TLS 1.2 before it has been answered.
    if (records.isOpenSsls) return at === end ? result : HANDSHAKE.lost;
    if (result === HANDSHAKE.underWay) continue;
    keep(records, at, end);
    if (at < end) stream.isReadable = true;
    return result;
  }
  keep(records, at, end);
  return HANDSHAKE.underWay;
}

/** One record for OpenSSL, and its answer for the client. */
function step(
  connection: ClientConnection,
  records: Records,
  at: number,
  length: number,
  now_ms: number,
): HandshakeStep {
  const { stream } = connection;
  const { ssl } = records;
  give(wire.address + at, length);
  const result = connection.awaitsHello ? firstStep(connection, ssl, at, length) : sslHandshake(ssl);
  records.serverSecret ??= secrets.server;
  secrets.server = undefined;
  forgetGiven();
  if (result === 1) {
    finish(records);
    return HANDSHAKE.done;
  }
  secrets.client?.fill(0);
  secrets.client = undefined;
  const verdict = judge(ssl, result);
  let isAnswered = false;
  while (takeOutput()) {
    sendWire(stream, output, now_ms);
    isAnswered = true;
  }
  // The first answer tells which TLS it is.
  if (isAnswered && verdict === HANDSHAKE.underWay && !isTls13(ssl)) records.isOpenSsls = true;
  return verdict;
}

/** The step that reads the client's session ticket. */
function firstStep(connection: ClientConnection, ssl: number, at: number, length: number): number {
  const hello = wire.bytes.subarray(at, at + length);
  const ticketAt = length > MOST_HELLO_BYTES ? MORE_NEEDED : findTicket(hello, length, TICKET_NAME_BYTES);
  connection.awaitsHello = false;
  const { tickets } = connection.vserver;
  const keys = ticketAt < 0 ? 0 : otherKeysFor(tickets, hello, ticketAt);
  if (keys === 0) return sslHandshake(ssl);
  const context = contextOf(ssl);
  setTicketKeys(context, keys);
  const result = sslHandshake(ssl);
  setTicketKeys(context, tickets.newest.address);
  return result;
}

/** The client's Finished has come: what OpenSSL says now are tickets, a record each, sealed as application data is. */
function finish(records: Records): void {
  const { ssl } = records;
  noteAgreed(ssl);
  const { client } = secrets;
  secrets.client = undefined;
  const suite = suiteOf(suiteNumber(ssl));
  if (client === undefined || records.serverSecret === undefined || suite === undefined) {
    throw new Error("OpenSSL has not told a handshake's secrets");
  }
  records.most_bytes = mostRecordBytes(ssl);
  if (takeOutput()) records.tickets = Buffer.from(output.bytes.subarray(0, output.length));
  takeOver(records, suite, client, records.tickets === undefined ? 0 : countRecords(records.tickets));
}

function countRecords(bytes: Buffer): number {
  let count = 0;
  for (let at = 0; at < bytes.length; count++) at += HEADER_BYTES + bytes.readUInt16BE(at + 3);
  return count;
}

/** Tickets wait so long for an answer to go with: a packet less for everybody who asks at once. */
const TICKET_WAIT_MS = 5;

/** Sends the tickets that have waited long enough; those that went with an answer are forgotten. */
export function sendTickets(worker: Worker): void {
  const { holdingTickets: waiting, now_ms } = worker;
  let done = 0;
  for (const { stream, exchange } of waiting) {
    const { records } = stream;
    if (records?.tickets !== undefined && !stream.isClosed) {
      if (now_ms - exchange.phaseStart_ms < TICKET_WAIT_MS) break;
      sealNext(records, 0, 0);
      sendWire(stream, sealed, now_ms);
    }
    done++;
  }
  if (done > 0) waiting.splice(0, done);
}

/** OpenSSL writes behind what it has said so far. */
function leaveToOpenSsl(stream: Stream, records: Records): HandshakeStep {
  if (stream.pending_bytes > 0) return HANDSHAKE.underWay;
  stream.ssl = records.ssl;
  stream.records = undefined;
  attachToSocket(stream.ssl, stream.fd);
  // OpenSSL may take from the socket what came just now, the first request included: no event tells of it.
  stream.isReadable = true;
  clearSslErrors();
  return conclude(stream);
}
