/**
 * TLS 1.2 with a pre-shared key (RFC 5489, ECDHE-PSK: forward secret): both sides prove that they hold the key, and nothing is
 * sent before they have.
 */
import type { Socket } from "node:net";
import { connect, createServer, type Server, type TLSSocket } from "node:tls";
import { CONTROL_TIMEOUT_MS, KEY_FORGET_MS } from "../conf/limits.ts";

const PSK_ONLY = {
  ciphers: "ECDHE-PSK-CHACHA20-POLY1305",
  minVersion: "TLSv1.2",
  maxVersion: "TLSv1.2",
} as const;

export interface Psk {
  /** What the key is called: it is sent in the clear. */
  readonly identity: string;
  readonly psk: Buffer;
}

/** Begins a connection: what is wrong with it, a key that the other side doesn't know included, is an "error" of the socket. */
export function connectPsk(address: string, port: number, psk: Psk): TLSSocket {
  return connect({
    ...PSK_ONLY,
    host: address,
    port,
    pskCallback: () => psk,
    // A PSK handshake has no certificate: the key itself is the proof.
    checkServerIdentity: () => undefined,
  });
}

export interface PskService {
  readonly address: string;
  /** 0 picks a free one. */
  readonly port: number;
  /** At once; further ones are closed. */
  readonly connections: number;
  /** The key of an identity, or null: asked at each handshake. */
  readonly keyOf: (identity: string) => Buffer | null;
  /** The other side has proved that it holds the key. */
  readonly onSocket: (socket: TLSSocket) => void;
  /** A handshake has failed. */
  readonly onRefused?: () => void;
}
export interface PskServer {
  readonly port: number;
  /** Ends the connections whose keys are known no longer, after a moment for what is just being answered. */
  dropForgotten(): void;
  /** Ends all connections; resolves when the port is free. */
  close(): Promise<void>;
}

/** Rejects when the address can't be bound. */
export async function listenPsk(service: PskService): Promise<PskServer> {
  const identities = new WeakMap<Socket, string>();
  const server = createServer({
    ...PSK_ONLY,
    handshakeTimeout: CONTROL_TIMEOUT_MS,
    pskCallback: (socket, identity) => {
      identities.set(socket, identity);
      return service.keyOf(identity);
    },
  });
  const open = new Set<Socket>();
  const keep = (socket: Socket): void => {
    open.add(socket);
    socket.once("close", () => open.delete(socket));
  };
  let dropping: NodeJS.Timeout | undefined;
  const dropForgotten = (): void => {
    for (const socket of open) {
      const identity = identities.get(socket);
      if (identity !== undefined && service.keyOf(identity) === null) socket.destroy();
    }
  };
  server.maxConnections = service.connections;
  // Those that never end their handshake, too: closing must not wait for them.
  server.on("connection", keep);
  server.on("tlsClientError", () => service.onRefused?.());
  server.on("secureConnection", (socket) => {
    keep(socket);
    service.onSocket(socket);
  });
  await listening(server, service);
  const bound = server.address();
  return {
    port: typeof bound === "object" && bound !== null ? bound.port : service.port,
    dropForgotten: () => {
      // The moment counts from the latest one that was forgotten.
      clearTimeout(dropping);
      dropping = setTimeout(dropForgotten, KEY_FORGET_MS).unref();
    },
    close: () =>
      new Promise((resolve) => {
        clearTimeout(dropping);
        server.close(() => resolve());
        for (const socket of open) socket.destroy();
      }),
  };
}

function listening(server: Server, { address, port }: PskService): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen({ host: address, port }, () => {
      server.off("error", reject);
      // A later accept error (too many descriptors) must not end the process.
      server.on("error", () => undefined);
      resolve();
    });
  });
}
