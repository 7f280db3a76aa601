/**
 * Opens TLS connections, makes one request on each, and leaves them idle until it is killed: first some, after which it says
 * "begun", then the others, after which it says "ready".
 */
import { connect, type TLSSocket } from "node:tls";
import { once } from "node:events";

const [host = "", port = "", first = "", others = ""] = process.argv.slice(2);
const sockets: TLSSocket[] = [];

async function open(count: number): Promise<void> {
  const wanted = sockets.length + count;
  while (sockets.length < wanted) {
    const socket = connect({ host, port: Number(port), rejectUnauthorized: false, ecdhCurve: "X25519" });
    socket.on("error", () => {});
    await once(socket, "secureConnect");
    socket.write("GET /100 HTTP/1.1\r\nHost: bench\r\n\r\n");
    await once(socket, "data");
    socket.resume();
    sockets.push(socket);
  }
}

await open(Number(first));
console.log("begun");
await once(process.stdin, "data");
await open(Number(others));
console.log("ready");
setInterval(() => {}, 1000);
