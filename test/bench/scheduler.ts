/**
 * What the scheduler's XDP program costs per packet, against a bare MAC swap in the same wrapper and the same run:
 * one flow, 65,536 flows at random, and those to 256 virtual servers at random. Rounds are interleaved; the machine's
 * noise only ever adds, so the bars are held against ratios of the minima. Needs root, and the packages that build
 * the program.
 *
 * `--json` prints one object, `--check` exits 1 and names what falls short of bars.json.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { epochOf } from "../../conf/epoch.ts";
import { describeError } from "../../conf/errors.ts";
import { mapShared } from "../../net/ffi.ts";
import { openBpfObject, testRun, updateMap, type BpfObject } from "../../net/libbpf.ts";
import { compileBpf } from "../../scheduler/bpf/build.ts";
import { loadUnattached, type Unattached } from "../../scheduler/plane/data-plane.ts";
import type { Service } from "../../scheduler/plane/shared-maps.ts";
import { wordOf } from "../../scheduler/table.ts";
import { conclude } from "./figures.ts";
import { eth, ip4, IPV4, mac, macOfNode, OWN_MAC, tcp, VIP } from "../scheduler/frames.ts";

/**
 * Short rounds, so that some fall between the machine's interruptions; with many flows long enough that each
 * bucket is met several times, as under a steady load.
 */
const ROUNDS = 200;
const PACKETS_PER_ROUND = { fixed: 20_000, random: 200_000, vservers: 200_000 };
const TABLE_SIZE = 65_536;
const NODES = 3;
const VSERVERS = 256;
const TRAFFIC_SLOTS = 64;
const FLOW_MASKS = { fixed: 0, random: 65_535, vservers: 65_535 };
const VSERVER_MASKS = { fixed: 0, random: 0, vservers: VSERVERS - 1 };
const TITLES = {
  fixed: "one flow",
  random: "65,536 flows",
  vservers: `65,536 flows to ${VSERVERS} virtual servers`,
};
const SLOTS = { mac_swap: 0, scheduler: 1 };
const XDP_TX = 3;
type Flows = keyof typeof FLOW_MASKS;
type Program = keyof typeof SLOTS;
const ALL_FLOWS = ["fixed", "random", "vservers"] as const;

interface Sample {
  readonly min_ns: number;
  readonly median_ns: number;
  /** Of the rounds' middle half, relative to the median. */
  readonly spread: number;
}
type Result = Record<Flows, Record<Program, Sample> & { readonly ratio: number }>;

/** The wrapper's virtual servers: the low four bits of the index are added to the VIP, the others to the port. */
function services(): Service[] {
  return Array.from({ length: VSERVERS }, (_, index) => ({
    address: VIP.replace(/\d+$/, (last) => String(Number(last) + (index & 15))),
    port: 80 + (index >> 4),
    transport: "tcp",
    vserver: {
      index,
      tableBase: 0,
      tableSize: TABLE_SIZE,
      group: 0,
      trafficBase: index * TRAFFIC_SLOTS,
      isAddressOnly: false,
    },
  }));
}

function prepareTable(plane: Unattached): void {
  plane.setOwnMac(mac(OWN_MAC));
  plane.setHashKey(Buffer.from(Array.from({ length: 48 }, (_, i) => (i * 97 + 13) & 255)));
  plane.setServices(services());
  plane.setVips([...new Set(services().map(({ address }) => address))]);
  const numbers = Array.from({ length: NODES }, (_, i) => i + 1);
  plane.setMembers(numbers.map((number) => ({ number, mac: mac(macOfNode(number)) })));
  // No node is ourselves: every packet goes the longer way, out.
  const state = { isUp: true, isSelf: false, isReachable: true, isDraining: false };
  for (const number of numbers)
    plane.setNode(0, number, { mac: mac(macOfNode(number)), slot: number, ...state });
  for (let i = 0; i < TABLE_SIZE; i++) {
    plane.buckets[i * 2] = wordOf((i % NODES) + 1, ((i + 1) % NODES) + 1);
  }
  // Node 0, which is this one, schedules.
  plane.lease.raiseEpoch(0, epochOf(1, 0));
}

function fdBytes(fd: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(fd);
  return bytes;
}

/** A function that measures one round, in ns per packet. */
function meter(wrapper: BpfObject, plane: Unattached): (flows: Flows, program: Program) => number {
  const programs = { mac_swap: wrapper.programFd("mac_swap"), scheduler: plane.programFd };
  for (const [program, slot] of Object.entries(SLOTS)) {
    updateMap(
      wrapper.mapFd("measured"),
      fdBytes(slot),
      fdBytes(programs[program === "scheduler" ? program : "mac_swap"]),
    );
  }
  const settings = new DataView(mapShared(wrapper.mapFd(".data.settings"), 20).buffer);
  mac(OWN_MAC).forEach((byte, i) => settings.setUint8(i, byte));
  const packet = eth(IPV4, ip4(6, tcp(5000, 80, 0x10)));
  const wrapperFd = wrapper.programFd("wrapper");
  return (flows, program) => {
    settings.setUint32(8, FLOW_MASKS[flows], true);
    settings.setUint32(12, VSERVER_MASKS[flows], true);
    settings.setUint32(16, SLOTS[program], true);
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

/** All are measured in turn, so that what slows the machine down for a while slows down all. */
function measure(round: ReturnType<typeof meter>): Result {
  const values: Record<Flows, Record<Program, number[]>> = {
    fixed: { mac_swap: [], scheduler: [] },
    random: { mac_swap: [], scheduler: [] },
    vservers: { mac_swap: [], scheduler: [] },
  };
  for (let i = 0; i < ROUNDS; i++) {
    for (const flows of ALL_FLOWS) {
      for (const program of ["mac_swap", "scheduler"] as const)
        values[flows][program].push(round(flows, program));
    }
  }
  const [fixed, random, vservers] = ALL_FLOWS.map((flows) => ratioOf(values[flows]));
  return { fixed: fixed!, random: random!, vservers: vservers! };
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
    const plane = loadUnattached(TABLE_SIZE, { trafficRows: VSERVERS * TRAFFIC_SLOTS });
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
  return [head, ...ALL_FLOWS.flatMap((flows) => part(TITLES[flows], result[flows]))].join("\n");
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
    "scheduler.vservers_to_random": result.vservers.scheduler.min_ns / result.random.scheduler.min_ns,
  };
  process.exitCode = conclude("scheduler", { ...result, figures }, () => table(result));
}

try {
  main();
} catch (error) {
  console.error(`bench:scheduler: ${describeError(error)}`);
  process.exitCode = 2;
}
