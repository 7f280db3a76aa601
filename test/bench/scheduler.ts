/**
 * What the scheduler's XDP program costs per packet, against a bare MAC swap in the same wrapper and the same run:
 * one flow, and 65,536 flows at random. Rounds are interleaved; the machine's noise only ever adds, so the bar is
 * held against the ratio of the minima. Needs root, and the packages that build the program.
 *
 * `--json` prints one object, `--check` exits 1 and names what falls short of bars.json.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describeError } from "../../conf/errors.ts";
import { mapShared } from "../../net/ffi.ts";
import { openBpfObject, testRun, updateMap, type BpfObject } from "../../net/libbpf.ts";
import { compileBpf } from "../../scheduler/bpf/build.ts";
import { loadUnattached, type DataPlaneMaps } from "../../scheduler/data-plane.ts";
import { wordOf } from "../../scheduler/table.ts";
import { conclude } from "./figures.ts";
import { eth, ip4, IPV4, mac, macOfNode, OWN_MAC, tcp, VIP } from "../scheduler/frames.ts";

/**
 * Short rounds, so that some fall between the machine's interruptions; with many flows long enough that each
 * bucket is met several times, as under a steady load.
 */
const ROUNDS = 200;
const PACKETS_PER_ROUND = { fixed: 20_000, random: 200_000 };
const TABLE_SIZE = 65_536;
const NODES = 3;
const FLOW_MASKS = { fixed: 0, random: 65_535 };
const SLOTS = { mac_swap: 0, scheduler: 1 };
const XDP_TX = 3;
type Flows = keyof typeof FLOW_MASKS;
type Program = keyof typeof SLOTS;

interface Sample {
  readonly min_ns: number;
  readonly median_ns: number;
  /** Of the rounds' middle half, relative to the median. */
  readonly spread: number;
}
type Result = Record<Flows, Record<Program, Sample> & { readonly ratio: number }>;

function prepareTable(plane: DataPlaneMaps): void {
  plane.setOwnMac(mac(OWN_MAC));
  plane.setHashKey(Buffer.from(Array.from({ length: 48 }, (_, i) => (i * 97 + 13) & 255)));
  plane.setVips([VIP]);
  plane.setServices([{ address: VIP, port: 80, transport: "tcp", vserver: 0 }]);
  const numbers = Array.from({ length: NODES }, (_, i) => i + 1);
  plane.setMembers(numbers.map((number) => mac(macOfNode(number))));
  // No node is ourselves: every packet goes the longer way, out.
  for (const number of numbers) plane.setNode(number, mac(macOfNode(number)), { isUp: true, isSelf: false });
  for (let i = 0; i < TABLE_SIZE; i++) {
    plane.buckets[i * 2] = wordOf((i % NODES) + 1, ((i + 1) % NODES) + 1);
  }
  plane.setScheduling(true);
}

function fdBytes(fd: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(fd);
  return bytes;
}

/** A function that measures one round, in ns per packet. */
function meter(wrapper: BpfObject, plane: DataPlaneMaps): (flows: Flows, program: Program) => number {
  const programs = { mac_swap: wrapper.programFd("mac_swap"), scheduler: plane.programFd };
  for (const [program, slot] of Object.entries(SLOTS)) {
    updateMap(
      wrapper.mapFd("measured"),
      fdBytes(slot),
      fdBytes(programs[program === "scheduler" ? program : "mac_swap"]),
    );
  }
  const settings = new DataView(mapShared(wrapper.mapFd(".data.settings"), 16).buffer);
  mac(OWN_MAC).forEach((byte, i) => settings.setUint8(i, byte));
  const packet = eth(IPV4, ip4(6, tcp(5000, 80, 0x10)));
  const wrapperFd = wrapper.programFd("wrapper");
  return (flows, program) => {
    settings.setUint32(8, FLOW_MASKS[flows], true);
    settings.setUint32(12, SLOTS[program], true);
    const { verdict, duration_ns } = testRun(wrapperFd, packet, PACKETS_PER_ROUND[flows]);
    if (verdict !== XDP_TX)
      throw new Error(`${program} gave verdict ${verdict}: it was not what should be measured`);
    return duration_ns;
  };
}

function summary(values: readonly number[]): Sample {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (share: number): number => sorted[Math.floor((sorted.length - 1) * share)] ?? NaN;
  return { min_ns: at(0), median_ns: at(0.5), spread: (at(0.75) - at(0.25)) / at(0.5) };
}

/** All four are measured in turn, so that what slows the machine down for a while slows down all. */
function measure(round: ReturnType<typeof meter>): Result {
  const values: Record<Flows, Record<Program, number[]>> = {
    fixed: { mac_swap: [], scheduler: [] },
    random: { mac_swap: [], scheduler: [] },
  };
  for (let i = 0; i < ROUNDS; i++) {
    for (const flows of ["fixed", "random"] as const) {
      for (const program of ["mac_swap", "scheduler"] as const)
        values[flows][program].push(round(flows, program));
    }
  }
  return { fixed: ratioOf(values.fixed), random: ratioOf(values.random) };
}

function ratioOf(values: Record<Program, number[]>): Result[Flows] {
  const [mac_swap, scheduler] = [summary(values.mac_swap), summary(values.scheduler)];
  return { mac_swap, scheduler, ratio: scheduler.min_ns / mac_swap.min_ns };
}

function runAll(): Result {
  const folder = mkdtempSync(join(tmpdir(), "dlba-bench-"));
  try {
    const object = join(folder, "wrapper.bpf.o");
    compileBpf(join(import.meta.dirname, "wrapper.bpf.c"), object);
    const wrapper = openBpfObject(object, "wrapper");
    wrapper.load();
    const plane = loadUnattached(TABLE_SIZE);
    prepareTable(plane);
    return measure(meter(wrapper, plane));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function line(name: string, { min_ns, median_ns, spread }: Sample): string {
  const percent = `${Math.round(spread * 100)} %`;
  return `  ${name.padEnd(12)}${String(min_ns).padStart(6)} ${String(median_ns).padStart(8)} ${percent.padStart(8)}`;
}

function table(result: Result): string {
  const part = (title: string, part: Result[Flows]): string[] => [
    `${title}: ${part.ratio.toFixed(2)} times the MAC swap`,
    line("MAC swap", part.mac_swap),
    line("scheduler", part.scheduler),
  ];
  const head = `ns per packet     min   median   spread   (${ROUNDS} rounds)`;
  return [head, ...part("one flow", result.fixed), ...part("65,536 flows", result.random)].join("\n");
}

function main(): void {
  if (process.getuid?.() !== 0) {
    console.error(
      "bench:scheduler needs root: it loads programs into the kernel. Try: sudo npm run bench:scheduler",
    );
    process.exit(3);
  }
  const result = runAll();
  const figures = {
    "scheduler.fixed_ratio": result.fixed.ratio,
    "scheduler.random_ratio": result.random.ratio,
  };
  process.exitCode = conclude("scheduler", { ...result, figures }, () => table(result));
}

try {
  main();
} catch (error) {
  console.error(`bench:scheduler: ${describeError(error)}`);
  process.exitCode = 2;
}
