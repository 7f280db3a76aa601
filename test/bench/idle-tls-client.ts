/** Opens many TLS connections, makes one request on each, says "ready", and leaves them idle until killed. */
import { connect, type TLSSocket } from "node:tls";
import { once } from "node:events";

const [host = "", port = "", count = ""] = process.argv.slice(2);
const sockets: TLSSocket[] = [];
while (sockets.length < Number(count)) {
  const socket = connect({ host, port: Number(port), rejectUnauthorized: false, ecdhCurve: "X25519" });
  socket.on("error", () => {});
  await once(socket, "secureConnect");
  socket.write("GET /100 HTTP/1.1\r\nHost: bench\r\n\r\n");
  await once(socket, "data");
  socket.resume();
  sockets.push(socket);
}
console.log("ready");
setInterval(() => {}, 1000);
