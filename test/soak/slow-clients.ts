/**
 * Clients that send a request's head a byte at a time, never to its end, and come again when they are sent away:
 * `slow-clients.ts PORT COUNT`. Says "ready" when all are there for the first time.
 */
import { connect, type Socket } from "node:net";

const [port = "", count = ""] = process.argv.slice(2);
const HEAD = "GET /100 HTTP/1.1\r\nHost: soak\r\nX-Slow: ";
const BYTE_EVERY_MS = 3000;
const SLICES = 30;

interface Slow {
  socket: Socket | undefined;
  sent: number;
}
const clients: Slow[] = [];
let connected = 0;

function open(slow: Slow): void {
  slow.sent = 0;
  const socket = connect({ host: "127.0.0.1", port: Number(port) });
  slow.socket = socket;
  socket.on("error", () => {});
  socket.resume().on("close", () => setTimeout(open, 1000, slow));
  socket.once("connect", () => {
    if (++connected === Number(count)) console.log("ready");
  });
}

for (let i = 0; i < Number(count); i++) {
  const slow: Slow = { socket: undefined, sent: 0 };
  clients.push(slow);
  setTimeout(open, (i / Number(count)) * 2000, slow);
}

let slice = 0;
setInterval(() => {
  slice = (slice + 1) % SLICES;
  for (let i = slice; i < clients.length; i += SLICES) {
    const slow = clients[i]!;
    const { socket } = slow;
    if (socket === undefined || !socket.writable) continue;
    socket.write(slow.sent < HEAD.length ? HEAD[slow.sent]! : "x");
    slow.sent++;
  }
}, BYTE_EVERY_MS / SLICES);
