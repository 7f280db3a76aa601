/**
 * The first step of a TLS handshake, which reads the client's session ticket. OpenSSL knows one set of ticket keys per context
 * and a callback for any other; a callback would run JavaScript several times in each handshake. Instead the ClientHello is looked
 * at in the socket: where it brings a ticket of an older or newer key, the context has that key for this one step. The ticket
 * that the client gets in return is made in a later step, so always with the newest.
 */
import { findTicket, MORE_NEEDED, MOST_HELLO_BYTES } from "../client-hello.ts";
import { otherKeysFor, TICKET_NAME_BYTES } from "../ticket-keys.ts";
import { contextOf, setTicketKeys, sslHandshake } from "../../net/openssl.ts";
import { MSG_DONTWAIT, MSG_PEEK, recv } from "../../net/sockets.ts";
import type { ClientConnection } from "./runtime.ts";
import { received } from "./stream.ts";

/** What `firstStep` returns when the ClientHello has not come whole: more of it will wake the connection again. */
export const HELLO_AWAITED = -100;

/** Takes the first step and returns as `sslHandshake` does, or HELLO_AWAITED with nothing done. */
export function firstStep(connection: ClientConnection): number {
  const { stream, vserver } = connection;
  const { ssl } = stream;
  const count = recv(stream.fd, received.address, MOST_HELLO_BYTES, MSG_PEEK | MSG_DONTWAIT);
  const ticketAt = findTicket(received.bytes, Math.max(0, count), TICKET_NAME_BYTES);
  if (ticketAt === MORE_NEEDED && !stream.hasPeerEnded) return HELLO_AWAITED;
  connection.awaitsHello = false;
  const { tickets } = vserver;
  const keys = ticketAt < 0 ? 0 : otherKeysFor(tickets, received.bytes, ticketAt);
  if (keys === 0) return sslHandshake(ssl);
  const context = contextOf(ssl);
  setTicketKeys(context, keys);
  const result = sslHandshake(ssl);
  setTicketKeys(context, tickets.newest.address);
  return result;
}
