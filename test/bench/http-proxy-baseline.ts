/** The baseline out of the npm registry: http-proxy 1.18 on Node's own HTTP, with kept connections. */
import { readFileSync } from "node:fs";
import { Agent, createServer } from "node:http";
import { createServer as createTlsServer } from "node:https";
import httpProxy from "http-proxy";

const [address = "", plainPort = "", tlsPort = "", target = "", certificate = "", key = ""] =
  process.argv.slice(2);
const proxy = httpProxy.createProxyServer({ target, xfwd: true, agent: new Agent({ keepAlive: true }) });
proxy.on("error", () => {});
createServer((request, response) => proxy.web(request, response)).listen(Number(plainPort), address);
createTlsServer({ cert: readFileSync(certificate), key: readFileSync(key) }, (request, response) =>
  proxy.web(request, response),
).listen(Number(tlsPort), address);
