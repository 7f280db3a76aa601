/** A thread that runs a program on a packet again and again while the test changes the maps. */
import { parentPort, workerData } from "node:worker_threads";
import { testRun } from "../../net/libbpf.ts";

const { programFd, packet }: { programFd: number; packet: Uint8Array } = workerData;
for (;;) {
  const { verdict } = testRun(programFd, packet, 100_000);
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread's port has no origin
  parentPort?.postMessage(verdict);
}
