/** WebSocket clients that send a message and wait for it to come back: Node's own, and ws over TLS. */
import { once } from "node:events";
import { WebSocket as TlsWebSocket, type RawData } from "ws";

/** The connection has ended, and how: what a client can tell of a close frame, an end without one, or a reset. */
export class Closed extends Error {}

export interface EchoClient {
  readonly kind: string;
  /** Resolves with what came back; rejects with Closed when the connection ends first. */
  readonly echo: (message: Buffer) => Promise<Buffer>;
  readonly close: () => void;
}

/** What is under way on a connection: one message at a time. */
interface Waiting {
  resolve: (message: Buffer) => void;
  reject: (error: Error) => void;
}

/** Node's own client (undici), over plain HTTP. */
export async function openPlain(port: number): Promise<EchoClient> {
  const socket = new WebSocket(`ws://127.0.0.1:${port}/echo`);
  socket.binaryType = "arraybuffer";
  const desk = createDesk();
  socket.addEventListener("message", ({ data }) => desk.arrived(Buffer.from(data as ArrayBuffer)));
  socket.addEventListener("close", ({ code }) => desk.ended(`closed with ${code}`));
  socket.addEventListener("error", () => desk.ended("failed"));
  await new Promise((resolve, reject) => {
    socket.addEventListener("open", resolve);
    socket.addEventListener("error", () => reject(new Closed("could not be opened")));
  });
  return {
    kind: "http/1.1, Node's client",
    echo: async (message) => desk.ask(() => socket.send(message)),
    close: () => socket.close(),
  };
}

/** The package ws, over TLS. */
export async function openTls(port: number, ca: Buffer): Promise<EchoClient> {
  const socket = new TlsWebSocket(`wss://localhost:${port}/echo`, { ca, perMessageDeflate: false });
  const desk = createDesk();
  socket.on("message", (data: RawData) => desk.arrived(data as Buffer));
  socket.on("close", (code) => desk.ended(`closed with ${code}`));
  socket.on("error", (error) => desk.ended(error.message));
  try {
    await once(socket, "open");
  } catch {
    throw new Closed("could not be opened");
  }
  return {
    kind: "http/1.1 over TLS, ws",
    echo: async (message) => desk.ask(() => socket.send(message)),
    close: () => socket.terminate(),
  };
}

export interface Desk {
  readonly ask: (send: () => void) => Promise<Buffer>;
  readonly arrived: (message: Buffer) => void;
  readonly ended: (how: string) => void;
}

/** Brings answers to who waits for them. */
export function createDesk(): Desk {
  let waiting: Waiting | undefined;
  let end: string | undefined;
  return {
    ask: async (send) => {
      if (end !== undefined) throw new Closed(end);
      const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
      waiting = { resolve, reject };
      send();
      return promise;
    },
    arrived: (message) => {
      waiting?.resolve(message);
      waiting = undefined;
    },
    ended: (how) => {
      end ??= how;
      waiting?.reject(new Closed(end));
      waiting = undefined;
    },
  };
}
