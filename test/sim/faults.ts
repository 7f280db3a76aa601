/** What can happen to an array: how each fault begins, and how it ends. */
import { startFailover } from "./failover-process.ts";
import { isScheduling } from "./kernel.ts";
import type { Fault, FaultKind } from "./plan.ts";
import { killScheduler, startScheduler, wishHandOver } from "./scheduler-process.ts";
import { CLIENTS, cutIndex, disturb, kernelOf, MS, note, type Machine, type World } from "./world.ts";

interface Case {
  readonly world: World;
  readonly fault: Fault;
  readonly machine: Machine;
  readonly other: Machine;
  readonly until_ns: number;
}
interface Course {
  begin(of: Case): void;
  end?(of: Case): void;
}

/** A machine starts: its kernel is new, its program comes with its scheduler process. */
export function boot(world: World, machine: Machine): void {
  const { timeline, chance, plan } = world;
  machine.life++;
  machine.isOn = true;
  machine.kernel = kernelOf(plan, machine.number);
  machine.noProgram++;
  disturb(world, machine);
  const { life } = machine;
  timeline.in((5 + chance() * 40) * MS, () => {
    if (machine.life !== life || !machine.isOn) return;
    machine.noProgram--;
    for (const rows of machine.kernel.rows.values()) {
      for (const row of rows) timeline.in((2 + chance() * 80) * MS, () => (row.knowsMac = true));
    }
    startScheduler(world, machine);
    startFailover(world, machine);
    disturb(world, machine);
    note(world, machine, "starts");
  });
}

function halt(world: World, machine: Machine): void {
  machine.isOn = false;
  machine.life++;
  machine.noProgram = 0;
  machine.failover = undefined;
  killScheduler(machine);
  disturb(world, machine);
}

function cutBetween(of: Case, by: number, isBothWays: boolean): void {
  const { world, fault, machine, other } = of;
  if (machine === other) return;
  for (let slot = 0; slot < world.plan.slots; slot++) {
    if (world.plan.slots > 1 && fault.extent % 3 !== slot && fault.extent % 3 !== 2) continue;
    world.cuts[cutIndex(world, slot, machine.index, other.index)]! += by;
    if (isBothWays) world.cuts[cutIndex(world, slot, other.index, machine.index)]! += by;
  }
}

/** Nodes and clients on two sides, by a bit for each. */
function cutSides({ world }: Case, isLeft: (index: number) => boolean, by: number): void {
  const { nodes, slots } = world.plan;
  const left = Array.from({ length: nodes }, (_, index) => isLeft(index));
  // Clients that are cut off from all nodes alike are nothing that a node could find out.
  if (left.every((side) => side === left[0])) return;
  for (let from = 0; from < nodes; from++) {
    for (let to = 0; to < nodes; to++) {
      if (from === to || isLeft(from) === isLeft(to)) continue;
      for (let slot = 0; slot < slots; slot++) world.cuts[cutIndex(world, slot, from, to)]! += by;
    }
    for (let client = 0; client < CLIENTS; client++) {
      if (isLeft(from) !== (client % 2 === 0)) world.clientCuts[client * nodes + from]! += by;
    }
  }
}

const later = (until_ns: number, now_ns: number): number => Math.max(until_ns, now_ns);

const isolate = (by: number) => (of: Case) => cutSides(of, (index) => index === of.machine.index, by);
const partition = (by: number) => (of: Case) =>
  cutSides(of, (index) => (of.fault.extent & (1 << index)) !== 0, by);

const COURSES: Readonly<Record<FaultKind, Course>> = {
  "crash-machine": {
    begin: ({ world, machine, fault }) => {
      halt(world, machine);
      if (fault.extent % 3 === 0) machine.reservedCounter = 0;
    },
    end: ({ world, machine }) => boot(world, machine),
  },
  "crash-failover": {
    begin: ({ machine }) => (machine.failover = undefined),
    end: ({ world, machine }) => startFailover(world, machine),
  },
  "crash-scheduler": {
    begin: ({ machine }) => killScheduler(machine),
    end: ({ world, machine }) => startScheduler(world, machine),
  },
  "stall-failover": {
    begin: ({ machine, fault, until_ns, world }) => {
      const length_ns = until_ns - world.timeline.now_ns;
      if (fault.extent % 3 === 0) machine.midTickStall_ns = length_ns;
      else machine.failoverStall_ns = later(machine.failoverStall_ns, until_ns);
      if (fault.extent % 2 === 0) machine.senderStall_ns = later(machine.senderStall_ns, until_ns);
    },
  },
  "stall-scheduler": {
    begin: ({ machine, until_ns }) => {
      machine.schedulerStall_ns = later(machine.schedulerStall_ns, until_ns);
    },
  },
  "stall-user": {
    begin: ({ machine, until_ns }) => stallProcesses(machine, until_ns),
  },
  "stall-machine": {
    begin: ({ machine, until_ns }) => {
      stallProcesses(machine, until_ns);
      machine.kernelStall_ns = later(machine.kernelStall_ns, until_ns);
    },
  },
  // The heartbeat thread goes on, as it runs before others; what comes in waits.
  "stall-receiving": {
    begin: ({ machine, until_ns }) => {
      machine.failoverStall_ns = later(machine.failoverStall_ns, until_ns);
      machine.kernelStall_ns = later(machine.kernelStall_ns, until_ns);
    },
  },
  cut: { begin: (of) => cutBetween(of, 1, true), end: (of) => cutBetween(of, -1, true) },
  "one-way": { begin: (of) => cutBetween(of, 1, false), end: (of) => cutBetween(of, -1, false) },
  isolate: { begin: isolate(1), end: isolate(-1) },
  partition: { begin: partition(1), end: partition(-1) },
  loss: {
    begin: ({ world, fault }) => (world.loss = 0.05 + (fault.extent % 8) * 0.06),
    end: ({ world }) => (world.loss = world.plan.loss),
  },
  delay: {
    begin: ({ world, fault }) => (world.delay_ns = (2 + (fault.extent % 8) * 5) * MS),
    end: ({ world }) => (world.delay_ns = 0),
  },
  "no-carrier": {
    begin: ({ machine, fault, world }) => (machine.noCarrier[fault.extent % world.plan.slots]! += 1),
    end: ({ machine, fault, world }) => (machine.noCarrier[fault.extent % world.plan.slots]! -= 1),
  },
  "no-program": {
    begin: ({ machine }) => (machine.noProgram += 1),
    end: ({ machine }) => (machine.noProgram = Math.max(0, machine.noProgram - 1)),
  },
  "hand-over": {
    begin: ({ world, other }) => {
      for (const machine of world.machines) wishHandOver(world, machine, other.number);
    },
  },
  stop: {
    begin: ({ machine }) => {
      if (machine.failover !== undefined) machine.failover.isStopping = true;
    },
    end: ({ world, machine }) => startFailover(world, machine),
  },
  "foreign-claim": {
    begin: ({ world }) => {
      for (const { failover } of world.machines) {
        failover?.vipClaims.push({ kind: "foreign", mac: "02:00:00:00:99:99" });
      }
    },
  },
};

function stallProcesses(machine: Machine, until_ns: number): void {
  machine.failoverStall_ns = later(machine.failoverStall_ns, until_ns);
  machine.senderStall_ns = later(machine.senderStall_ns, until_ns);
  machine.schedulerStall_ns = later(machine.schedulerStall_ns, until_ns);
}

/** Faults that something else has overtaken don't end any more. */
function isOver({ fault, machine }: Case, life: number): boolean {
  const isOfMachine = fault.kind === "no-program" || fault.kind === "crash-failover" || fault.kind === "stop";
  if (fault.kind === "crash-machine") return machine.life !== life;
  return (isOfMachine || fault.kind === "crash-scheduler") && machine.life !== life;
}

/** Puts a plan's faults on the timeline. */
export function placeFaults(world: World): void {
  for (const fault of world.plan.faults) {
    world.timeline.at(fault.at_ms * MS, () => begin(world, fault));
  }
}

/** A scheduler whose kernel takes nothing in for as long as it takes to be found dead is a dead one. */
const CALM_KERNEL_NS = 15 * MS;

function lengthOf_ns({ plan, machines }: World, { kind, node, for_ms }: Fault): number {
  const isOfKernel = kind === "stall-machine" || kind === "stall-receiving";
  const isBound = plan.isCalm && isOfKernel && isScheduling(machines[node]!.kernel);
  return isBound ? Math.min(for_ms * MS, CALM_KERNEL_NS) : for_ms * MS;
}

function begin(world: World, fault: Fault): void {
  const { timeline, machines } = world;
  const until_ns = timeline.now_ns + lengthOf_ns(world, fault);
  const of = { world, fault, machine: machines[fault.node]!, other: machines[fault.other]!, until_ns };
  const { machine, other } = of;
  const isPossible = machine.isOn && (fault.kind !== "stop" || machine.failover !== undefined);
  if (!isPossible) return;
  note(world, machine, `${fault.kind} for ${fault.for_ms} ms, ${other.number}, ${fault.extent}`);
  disturb(world, machine, other);
  COURSES[fault.kind].begin(of);
  const { life } = machine;
  timeline.at(until_ns, () => {
    disturb(world, machine, other);
    if (isOver(of, life)) return;
    COURSES[fault.kind].end?.(of);
    note(world, machine, `${fault.kind} is over`);
  });
}
