/** A listening Unix socket: one owner, a mode, and nothing left behind. */
import { chmodSync, lstatSync, unlinkSync } from "node:fs";
import { createConnection, createServer, type Server, type Socket } from "node:net";
import { DlbaError } from "../conf/errors.ts";

export interface UnixServerOptions {
  readonly path: string;
  readonly mode: number;
  readonly connections: number;
  readonly onConnection: (socket: Socket) => void;
}

export interface UnixServer {
  /** Ends all connections and removes the socket's file. */
  readonly close: () => Promise<void>;
  /** Removes the socket's file, for another process to take its place. Connections go on until they end. */
  readonly leave: () => void;
}

/**
 * Listens at a path. What an ended process left there is removed; a living one's socket, or a file of another
 * kind, is not: DlbaError SOCKET_IN_USE, SOCKET_PATH_TAKEN, SOCKET_UNUSABLE.
 */
export async function listenUnix(options: UnixServerOptions): Promise<UnixServer> {
  await removeStale(options.path);
  const open = new Set<Socket>();
  // Half-open, because clients such as socat end their side before they read the answer.
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    open.add(socket);
    socket.once("close", () => open.delete(socket));
    socket.on("error", () => socket.destroy());
    options.onConnection(socket);
  });
  server.maxConnections = options.connections;
  await listen(server, options);
  return {
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of open) socket.destroy();
      }),
    leave: () => void server.close(),
  };
}

function listen(server: Server, { path, mode }: UnixServerOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", (cause) =>
      reject(new DlbaError("SOCKET_UNUSABLE", `the socket ${path} can't be made`, { cause })),
    );
    server.listen(path, () => {
      // A later accept error (too many descriptors) must not end the process.
      server.removeAllListeners("error").on("error", () => undefined);
      resolve();
    });
    // The socket exists from here on (it is bound in the call above), and nobody was accepted yet.
    if (isSocket(path)) chmodSync(path, mode);
  });
}

function isSocket(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false })?.isSocket() ?? false;
}

async function removeStale(path: string): Promise<void> {
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found === undefined) return;
  if (!found.isSocket()) throw new DlbaError("SOCKET_PATH_TAKEN", `${path} exists and is not a socket`);
  if (await answers(path)) {
    throw new DlbaError("SOCKET_IN_USE", `another process listens on ${path}`, {
      hint: "is this node running already?",
    });
  }
  unlinkSync(path);
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createConnection({ path });
    probe.once("connect", () => resolve(true)).once("error", () => resolve(false));
    probe.once("connect", () => probe.destroy());
  });
}
