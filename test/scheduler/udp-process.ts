/**
 * One end of a UDP exchange. `echo address port`: sends back what comes. `ask address port bytes count`: sends so many
 * datagrams of that size one after the other, each until it has come back, and prints how many came back unchanged.
 */
import { createSocket } from "node:dgram";
import { randomBytes } from "node:crypto";

const [role, address = "", port = "0", bytes = "0", count = "0"] = process.argv.slice(2);
const REPEAT_MS = 20;
const socket = createSocket("udp4");

if (role === "echo") {
  socket.on("message", (message, from) => socket.send(message, from.port, from.address));
  socket.bind(Number(port), address, () => console.log("ready"));
} else {
  let good = 0;
  let sent = randomBytes(Number(bytes));
  const send = (): void => socket.send(sent, Number(port), address);
  const timer = setInterval(send, REPEAT_MS);
  socket.on("message", (message) => {
    if (!message.equals(sent)) return;
    good++;
    sent = randomBytes(Number(bytes));
    if (good < Number(count)) return send();
    clearInterval(timer);
    socket.close();
    console.log(`${good}`);
  });
  send();
}
