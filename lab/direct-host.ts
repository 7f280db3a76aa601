/**
 * The small service of a lab's hosts that hold a VIP: those of direct pools, and nodes with tcp or udp vservers of
 * their own. Run as `node lab/direct-host.ts NAME PROTOCOL/ADDRESS/PORT…`.
 *
 * - TCP: each line gets the host's name as a line, for as long as the client keeps the connection. A connection whose
 *   first line is an HTTP request speaks HTTP/1.1 instead: every GET gets the name, also as `X-Web-Server`.
 * - UDP: a datagram gets the host's name, the datagram's length and its SHA-256, with spaces between.
 *
 * An address that is not there yet (`dlba run` puts the VIPs on `lo`) is tried again until it is.
 */
import { createHash } from "node:crypto";
import { createSocket } from "node:dgram";
import { createServer, isIPv6, type Socket } from "node:net";
import { describeError } from "../conf/errors.ts";
import { lineReader } from "../net/lines.ts";

const LINE_BYTES = 65_536;
const RETRY_MS = 20;
const BACKLOG = 4096;

function serve(name: string, socket: Socket): void {
  let mode: "unknown" | "lines" | "http" = "unknown";
  const answerHttp = `HTTP/1.1 200 OK\r\nX-Web-Server: ${name}\r\nContent-Length: ${name.length + 1}\r\n\r\n${name}\n`;
  const onLine = (line: string): void => {
    if (mode === "unknown") mode = /^(?:GET|HEAD) \S+ HTTP\/1\.[01]$/.test(line) ? "http" : "lines";
    if (mode === "lines") socket.write(`${name}\n`);
    else if (line === "") socket.write(answerHttp);
  };
  const reader = lineReader(LINE_BYTES, onLine, () => socket.destroy());
  socket.setNoDelay(true);
  socket.on("data", reader.push);
  socket.on("error", () => socket.destroy());
}

/** Calls `listen` until it succeeds: only a missing address is waited for. */
async function retried(what: string, listen: () => Promise<void>): Promise<void> {
  for (;;) {
    try {
      return await listen();
    } catch (error) {
      const isMissing = error instanceof Error && "code" in error && error.code === "EADDRNOTAVAIL";
      if (!isMissing) throw new Error(`${what}: ${describeError(error)}`, { cause: error });
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  }
}

async function listenTcp(name: string, host: string, port: number): Promise<void> {
  const server = createServer((socket) => serve(name, socket));
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once("error", reject);
  server.listen({ host, port, backlog: BACKLOG }, resolve);
  await promise;
}

async function listenUdp(name: string, address: string, port: number): Promise<void> {
  const socket = createSocket(isIPv6(address) ? "udp6" : "udp4");
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  socket.once("error", reject);
  socket.bind({ address, port }, resolve);
  await promise;
  socket.on("message", (bytes, from) => {
    const hash = createHash("sha256").update(bytes).digest("hex");
    socket.send(`${name} ${bytes.length} ${hash}\n`, from.port, from.address);
  });
}

const [, , name = "", ...services] = process.argv;
await Promise.all(
  services.map(async (service) => {
    const [protocol, address = "", port] = service.split("/");
    const listen = protocol === "udp" ? listenUdp : listenTcp;
    await retried(service, async () => listen(name, address, Number(port)));
  }),
);
console.log("ready");
