/**
 * A node's side of joining: waits for one host that holds the token's secret, gives it what it needs, and hears whether that
 * was written. The secret lives in this process alone and opens once: whoever has been answered has used it up, and so have a
 * number of wrong guesses, the end of its time, and the end of the process.
 */
import type { TLSSocket } from "node:tls";
import { DlbaError } from "../../conf/errors.ts";
import { JOIN_HELLO_BYTES, JOIN_TIMEOUT_MS, JOIN_TRIES } from "../../conf/limits.ts";
import { listenPsk, type Psk } from "../../net/psk-tls.ts";
import { converse } from "./lines.ts";
import { readHello, readOutcome, type JoinHello, type JoinOutcome, type Parcel } from "./parcel.ts";

export interface InvitationPlace {
  readonly address: string;
  /** 0 picks a free one. */
  readonly port: number;
  readonly psk: Psk;
  readonly life_ms: number;
  /** What the host gets. When it throws, the host gets nothing, and the token is used up. */
  readonly parcelFor: (hello: JoinHello) => Parcel;
}
export interface Guest {
  readonly hello: JoinHello;
  readonly parcel: Parcel;
  readonly from: string;
  readonly outcome: JoinOutcome;
}
export interface Invitation {
  readonly port: number;
  /**
   * A host has got everything and has said how it went. Rejects with DlbaError: INVITATION_ENDED (nobody came in time),
   * INVITATION_GUESSED (too many came with something else), JOIN_BROKEN (a host came and was lost), or what `parcelFor` throws.
   */
  readonly guest: Promise<Guest>;
  /** Nobody can come any more. */
  readonly close: () => Promise<void>;
}

/** Rejects when the address can't be bound. */
export async function invite(place: InvitationPlace): Promise<Invitation> {
  const { promise: guest, resolve, reject } = Promise.withResolvers<Guest>();
  let tries = JOIN_TRIES;
  let isUsed = false;
  const { identity, psk } = place.psk;
  const server = await listenPsk({
    address: place.address,
    port: place.port,
    connections: JOIN_TRIES,
    keyOf: (name) => (!isUsed && tries > 0 && name === identity ? psk : null),
    onSocket: (socket) => {
      // Of two that hold the secret the first one gets in.
      if (isUsed) return void socket.destroy();
      isUsed = true;
      welcome(socket, place).then(resolve, reject);
    },
    onRefused: () => {
      if (isUsed || --tries > 0) return;
      const hint = "make another one, and look at who reaches this port";
      const text = `${JOIN_TRIES} connections came without the token's secret: the token is good no more`;
      reject(new DlbaError("INVITATION_GUESSED", text, { hint }));
    },
  });
  const timer = setTimeout(() => {
    if (!isUsed) reject(new DlbaError("INVITATION_ENDED", "nobody came: the token is good no more"));
    isUsed = true;
  }, place.life_ms);
  // Whoever waits hears of it; whoever doesn't is not ended by it.
  guest.catch(() => undefined);
  return {
    port: server.port,
    guest,
    close: async () => {
      isUsed = true;
      clearTimeout(timer);
      await server.close();
    },
  };
}

async function welcome(socket: TLSSocket, { parcelFor }: InvitationPlace): Promise<Guest> {
  const from = socket.remoteAddress ?? "?";
  const timer = setTimeout(() => socket.destroy(), JOIN_TIMEOUT_MS);
  try {
    const talk = converse(socket, JOIN_HELLO_BYTES);
    const hello = readHello(await talk.hear());
    const parcel = parcelFor(hello);
    talk.say(JSON.stringify(parcel));
    return { hello, parcel, from, outcome: readOutcome(await talk.hear()) };
  } finally {
    clearTimeout(timer);
    socket.destroy();
  }
}
