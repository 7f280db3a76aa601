/** The monitoring socket over TCP with TLS: the same words, for who says the token or shows a certificate. */
import type { Socket } from "node:net";
import { createServer, type Server } from "node:tls";
import { DlbaError } from "../conf/errors.ts";
import { ADMISSION_MS } from "../conf/limits.ts";
import { readAdmission, tokenStamp } from "./access.ts";
import type { Logger } from "./log.ts";
import { MONITOR_SOCKETS, monitorSessions, type MonitorOptions } from "./monitor.ts";
import { served, type Served } from "./served.ts";
import { readTlsFiles, renewTls, type TlsFiles } from "./tls-files.ts";

export interface MonitorTlsSettings extends TlsFiles {
  readonly address: string;
  /** 0 picks a free one (for tests). */
  readonly port: number;
  readonly token_file?: string | undefined;
}

/** Serves nothing until a configuration says where. */
export function monitorService(options: MonitorOptions, log: Logger): Served {
  return served(
    {
      name: "the monitoring socket over TLS is",
      settingsOf: ({ monitor }) => monitor,
      open: (settings) => monitorTls(settings, options),
      stampOf: ({ token_file }) => (token_file === undefined ? "" : tokenStamp(token_file)),
    },
    log,
  );
}

/**
 * Listens until closed. Rejects with DlbaError MONITOR_UNUSABLE when it can't listen there, and with what is wrong with the
 * files.
 */
export async function monitorTls(
  settings: MonitorTlsSettings,
  options: MonitorOptions,
): Promise<{ readonly port: number; readonly close: () => Promise<void> }> {
  const { token_file, client_ca, address, port } = settings;
  const admits = token_file === undefined ? undefined : readAdmission(token_file);
  const server = createServer({
    ...readTlsFiles(settings),
    handshakeTimeout: ADMISSION_MS,
    requestCert: client_ca !== undefined,
    // Who has neither a certificate nor a token to say needs no connection.
    rejectUnauthorized: admits === undefined,
    // As on the Unix socket: clients such as socat end their side before they read the answer.
    allowHalfOpen: true,
  });
  const take = monitorSessions({ ...options, ...(admits === undefined ? {} : { admits }) });
  const open = new Set<Socket>();
  server.maxConnections = MONITOR_SOCKETS;
  server.on("connection", (socket: Socket) => {
    open.add(socket);
    socket.once("close", () => open.delete(socket));
  });
  server.on("secureConnection", (socket) => {
    socket.on("error", () => socket.destroy());
    take(socket, client_ca !== undefined && socket.authorized);
  });
  await listen(server, address, port);
  renewTls(server, settings, options.log);
  const bound = server.address();
  return {
    port: typeof bound === "object" && bound !== null ? bound.port : port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of open) socket.destroy();
      }),
  };
}

function listen(server: Server, address: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", (cause) => {
      const text = `the monitoring socket can't be served on ${address} port ${port}`;
      reject(new DlbaError("MONITOR_UNUSABLE", text, { cause }));
    });
    server.listen(port, address, () => {
      // A later accept error (too many descriptors) must not end the process.
      server.removeAllListeners("error").on("error", () => undefined);
      resolve();
    });
  });
}
