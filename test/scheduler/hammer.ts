/** A thread that runs a program on a packet again and again while the test changes the maps. */
import { parentPort, workerData } from "node:worker_threads";
import { testRun } from "../../net/libbpf.ts";

const { programFd, packet }: { programFd: number; packet: Uint8Array } = workerData;
const { verdict } = testRun(programFd, packet, 3_000_000);
parentPort?.postMessage(verdict);
