/**
 * Opens TLS connections, makes one request on each, and keeps them: `idle-clients.ts PORT COUNT`. Says "ready", and for each line
 * on standard input how many are open.
 */
import { once } from "node:events";
import { connect } from "node:tls";

const [port = "", count = ""] = process.argv.slice(2);
const AT_ONCE = 16;
let begun = 0;
let open = 0;

async function openOne(): Promise<void> {
  const socket = connect({
    host: "127.0.0.1",
    port: Number(port),
    rejectUnauthorized: false,
    ecdhCurve: "X25519",
  });
  socket.on("error", () => {});
  await once(socket, "secureConnect");
  socket.write("GET /100 HTTP/1.1\r\nHost: soak\r\n\r\n");
  await once(socket, "data");
  open++;
  socket.resume().on("close", () => open--);
}

async function openSome(): Promise<void> {
  while (begun++ < Number(count)) await openOne();
}

await Promise.all(Array.from({ length: AT_ONCE }, openSome));
console.log("ready");
process.stdin.on("data", () => console.log(open)).on("end", () => process.exit(0));
