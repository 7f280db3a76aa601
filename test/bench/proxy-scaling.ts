/**
 * Two workers on two cores against one. The machine may have no other core for the load, so web servers and load generators
 * run on both cores, the same ones in either case, and what is compared is what workers do in a second of their own CPU time:
 * two that get in each other's way (locks of the kernel, caches, the common log) do less than twice as much as one.
 */
import { once } from "node:events";
import type { ChildProcess } from "node:child_process";
import { setTimeout as sleep } from "node:timers/promises";
import { cpuSeconds } from "./process-figures.ts";
import { CONNECTIONS, wrkCount } from "./proxy-loads.ts";
import {
  ADDRESS,
  ALONE_PORT,
  file,
  inside,
  LOAD_CPU,
  output,
  PROXY_CPU,
  startWorker,
} from "./proxy-peers.ts";

const PAIR_PORT = 8001;

async function requests(cpu: string, port: number, seconds: number): Promise<number> {
  const how = ["-t1", "--timeout", "30", `-c${CONNECTIONS}`, `-d${seconds}`];
  const text = await output(inside("wrk", [...how, `http://${ADDRESS}:${port}/100`], cpu));
  return wrkCount(`port ${port}`, text);
}

/** Requests per second of CPU time of all `workers` together, when load for them comes from both cores. */
async function perCpuSecond(
  port: number,
  workers: readonly ChildProcess[],
  seconds: number,
): Promise<number> {
  const used = (): number => workers.reduce((sum, { pid }) => sum + cpuSeconds(pid!), 0);
  const before = used();
  const counts = await Promise.all([PROXY_CPU, LOAD_CPU].map((cpu) => requests(cpu, port, seconds)));
  return counts.reduce((sum, count) => sum + count, 0) / (used() - before);
}

async function stop(children: readonly ChildProcess[]): Promise<void> {
  for (const child of children) {
    const closed = once(child, "exit");
    if (child.kill("SIGTERM")) await closed;
  }
}

/** For each round, what two did divided by what one did. No other worker of the benchmark may be running. */
export async function scaling(rounds: number, seconds: number): Promise<number[]> {
  // A second web server, which shares the first one's port.
  const web = inside("nginx", ["-c", file("backend2.conf")], PROXY_CPU);
  const alone = startWorker("alone.yaml", 2, PROXY_CPU);
  const pair = [startWorker("dlba.yaml", 0, PROXY_CPU), startWorker("dlba.yaml", 1, LOAD_CPU)];
  const children = [web, alone, ...pair];
  for (const child of children) child.stderr!.resume();
  try {
    await sleep(2000);
    const ratios: number[] = [];
    for (let round = -1; round < rounds; round++) {
      const one = await perCpuSecond(ALONE_PORT, [alone], seconds);
      const each = await perCpuSecond(PAIR_PORT, pair, seconds);
      if (round >= 0) ratios.push((each * pair.length) / one);
    }
    return ratios;
  } finally {
    await stop(children);
  }
}
