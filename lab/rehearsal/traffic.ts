/**
 * The clients of a rehearsal: each target is asked over connections that are kept and over new ones, all the time. Run as
 * `node lab/rehearsal/traffic.ts` on the lab's client. It reads a TrafficPlan as JSON from its standard input's first line, tells
 * each request that is over as a line of JSON (Asked), and ends when its standard input does.
 */
import { createSocket } from "node:dgram";
import { Agent as HttpAgent, type ClientRequestArgs, request as askHttp } from "node:http";
import { Agent as HttpsAgent, request as askHttps } from "node:https";
import { connect, isIP, isIPv6, type Socket } from "node:net";
import { createInterface } from "node:readline";
import { connect as connectTls } from "node:tls";
import { monotonicNow_ms } from "../flow-report.ts";
import type { Asked, TrafficPlan } from "./report.ts";
import type { Target } from "./targets.ts";

/** New requests wait while so many are under way. */
const MAX_OPEN = 2000;
const LINE = "rehearsal\n";

let plan: TrafficPlan = { targets: [], every_ms: 1000, answer_within_ms: 1000 };
let open = 0;
let isEnding = false;

type Answer = Pick<Asked, "status" | "error" | "by">;
type Ask = (target: Target, agent: HttpAgent | null) => Promise<Answer>;

/** Asks until told to stop, and tells what came of it. */
async function ask(index: number, agent: HttpAgent | null): Promise<void> {
  const target = plan.targets[index]!;
  const started_ms = monotonicNow_ms();
  open++;
  const answer = await ASK[target.protocol](target, agent);
  open--;
  const asked: Asked = {
    target: index,
    is_kept: agent !== null,
    started_ms,
    ended_ms: monotonicNow_ms(),
    ...answer,
  };
  process.stdout.write(`${JSON.stringify(asked)}\n`);
}

const failed = (error: string): Answer => ({ status: 0, error, by: "" });

const exchange = async (target: Target, agent: HttpAgent | null): Promise<Answer> =>
  new Promise((resolve) => {
    const { address, port, method, path, host, headers } = target;
    const isTls = target.protocol === "https";
    const options: ClientRequestArgs = {
      host: address,
      port,
      method,
      path: encodeURI(path),
      setHost: false,
      headers: { ...headers, host: hostHeader(host, port, isTls), "user-agent": "dlba-rehearsal" },
      // An agent of its own makes a connection of its own.
      agent: agent ?? agentFor(target, false),
    };
    const asking = (isTls ? askHttps : askHttp)(options);
    const timer = setTimeout(() => {
      resolve(failed("no answer in time"));
      asking.destroy();
    }, plan.answer_within_ms);
    const finish = (answer: Answer): void => {
      clearTimeout(timer);
      resolve(answer);
    };
    asking.on("error", (error: NodeJS.ErrnoException) => finish(failed(error.code ?? error.message)));
    asking.on("response", (response) => {
      const by = response.headers["x-web-server"];
      const status = response.statusCode ?? 0;
      response.resume();
      response.on("end", () => finish({ status, error: null, by: typeof by === "string" ? by : "" }));
      response.on("error", (error: NodeJS.ErrnoException) => finish(failed(error.code ?? error.message)));
    });
    asking.end();
  });

function hostHeader(host: string, port: number, isTls: boolean): string {
  return port === (isTls ? 443 : 80) ? host : `${host}:${port}`;
}

/** A connection to a target, with its PROXY header and its TLS. Certificates are not judged: many are stand-ins. */
function connection(target: Target): Socket {
  const { address, port, host, protocol, begins_with_proxy_header } = target;
  const socket = connect({ host: address, port, noDelay: true });
  // Kept until the connection is there, so before anything else that is written.
  if (begins_with_proxy_header) socket.write(proxyHeader(address, port));
  if (protocol !== "https") return socket;
  const name = host.replace(/^\[|\]$/g, "");
  const secure = connectTls({
    socket,
    rejectUnauthorized: false,
    ...(isIP(name) === 0 ? { servername: name } : {}),
  });
  // What befalls the connection below is an error of the one above.
  socket.on("error", (error) => secure.destroy(error));
  return secure;
}

/** Some client that the load balancer in front would speak for. */
function proxyHeader(address: string, port: number): string {
  const [family, client] = isIPv6(address) ? ["TCP6", "2001:db8::7"] : ["TCP4", "192.0.2.7"];
  return `PROXY ${family} ${client} ${address} 40000 ${port}\r\n`;
}

const askLine = async ({ address, port }: Target): Promise<Answer> =>
  new Promise((resolve) => {
    const socket = connect({ host: address, port, noDelay: true });
    const finish = (answer: Answer): void => {
      clearTimeout(timer);
      resolve(answer);
      socket.destroy();
    };
    const timer = setTimeout(() => finish(failed("no answer in time")), plan.answer_within_ms);
    socket.on("connect", () => socket.write(LINE));
    socket.on("data", (bytes) => finish({ status: 0, error: null, by: String(bytes).trim() }));
    socket.on("error", (error: NodeJS.ErrnoException) => finish(failed(error.code ?? error.message)));
    socket.on("end", () => finish(failed("closed")));
  });

const askDatagram = async ({ address, port }: Target): Promise<Answer> =>
  new Promise((resolve) => {
    const socket = createSocket(isIPv6(address) ? "udp6" : "udp4");
    const finish = (answer: Answer): void => {
      clearTimeout(timer);
      socket.close();
      resolve(answer);
    };
    const timer = setTimeout(() => finish(failed("no answer in time")), plan.answer_within_ms);
    socket.on("message", (bytes) =>
      finish({ status: 0, error: null, by: String(bytes).split(" ")[0] ?? "" }),
    );
    socket.on("error", (error: NodeJS.ErrnoException) => finish(failed(error.code ?? error.message)));
    socket.send(LINE, port, address);
  });

const ASK: Readonly<Record<Target["protocol"], Ask>> = {
  http: exchange,
  https: exchange,
  tcp: askLine,
  udp: askDatagram,
};

/** Makes connections to a target, one at a time. */
function agentFor(target: Target, keepAlive: boolean): HttpAgent {
  const options = { keepAlive, maxSockets: 1 };
  const agent = target.protocol === "https" ? new HttpsAgent(options) : new HttpAgent(options);
  return Object.assign(agent, { createConnection: () => connection(target) });
}

/** Over one connection that is kept for all requests, and made anew when it is lost. */
async function keepAsking(index: number): Promise<void> {
  const agent = agentFor(plan.targets[index]!, true);
  for (;;) {
    if (isEnding) break;
    await ask(index, agent);
    await new Promise((resolve) => setTimeout(resolve, plan.every_ms));
  }
  agent.destroy();
}

function start(): void {
  plan.targets.forEach((target, index) => {
    // Each in its own place within the interval.
    setTimeout(
      () => {
        setInterval(() => {
          if (!isEnding && open < MAX_OPEN) void ask(index, null);
        }, plan.every_ms);
        if (target.protocol === "http" || target.protocol === "https") void keepAsking(index);
      },
      (plan.every_ms * index) / plan.targets.length,
    );
  });
}

const input = createInterface({ input: process.stdin });
input.once("line", (line) => {
  plan = JSON.parse(line);
  start();
});
input.on("close", () => {
  isEnding = true;
  const wait = setInterval(() => {
    if (open > 0) return;
    clearInterval(wait);
    process.stdout.write("", () => process.exit(0));
  }, 20);
});
