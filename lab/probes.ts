/**
 * Asks again and again whether somebody serves: a new connection with one request every few milliseconds, whatever became
 * of the ones before. Run as `node lab/probes.ts PLAN` on a host of the lab (PLAN is JSON, see probe-report.ts). Each
 * probe that ends is a line of JSON; it runs until its standard input ends.
 */
import { connect } from "node:net";
import { monotonicNow_ms } from "./flow-report.ts";
import type { Probe, ProbePlan } from "./probe-report.ts";

/** Probes that are under way at once at most. */
const MAX_OPEN = 500;

const plan: ProbePlan = JSON.parse(process.argv[2] ?? "");
const host = plan.host.includes(":") ? `[${plan.host}]` : plan.host;
const REQUEST = `GET ${plan.path} HTTP/1.1\r\nHost: ${host}:${plan.port}\r\nConnection: close\r\n\r\n`;
let open = 0;

function probe(): void {
  if (open >= MAX_OPEN) return;
  open++;
  const started_ms = monotonicNow_ms();
  const socket = connect({ host: plan.host, port: plan.port, noDelay: true });
  let received = "";
  let isOver = false;
  const end = (error: string | null, node = ""): void => {
    if (isOver) return;
    isOver = true;
    open--;
    clearTimeout(timer);
    socket.destroy();
    tell({ started_ms, ended_ms: monotonicNow_ms(), node, error });
  };
  const timer = setTimeout(() => end("no answer in time"), plan.answer_within_ms);
  socket.setEncoding("latin1");
  socket.on("connect", () => socket.write(REQUEST));
  socket.on("data", (text: string) => {
    received += text;
    if (!received.includes("\r\n\r\n")) return;
    const status = Number(received.slice(9, 12));
    const node = /\r\nx-asked-by: *([^\r]*)\r\n/i.exec(received)?.[1] ?? "";
    end(status === 200 ? null : `status ${status}`, node);
  });
  socket.on("error", (error: NodeJS.ErrnoException) => end(`${error.syscall} ${error.code}`));
  socket.on("end", () => end("closed"));
}

function tell(probe: Probe): void {
  process.stdout.write(`${JSON.stringify(probe)}\n`);
}

setInterval(probe, plan.every_ms);
process.stdin.resume().on("end", () => process.exit(0));
