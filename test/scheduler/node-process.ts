/** Stands in for a node's other processes: a web page that names the node, and answers for the sweep. */
import { createServer } from "node:http";
import { readArrayKey } from "../../conf/keys.ts";
import type { NodeStatus } from "../../conf/messages.ts";
import { controlServer } from "../../net/control-tls.ts";

const [name = "", number = "", address = "", port = "", keyFile = ""] = process.argv.slice(2);
const status: NodeStatus = {
  number: Number(number),
  avg_response_time_us: 1500,
  hits: 10 * Number(number),
  open_connections: 1,
  open_by_vserver: {},
  workers: 1,
  workers_accepting: 1,
  web_servers: [],
};
createServer((_request, response) => response.setHeader("connection", "close").end(`${name}\n`)).listen(
  80,
  "::",
);
await controlServer({
  address,
  port: Number(port),
  arrayKey: readArrayKey(keyFile),
  handle: async () => JSON.stringify(status),
});
console.log("ready");
