/** One run: an array is started, its plan's faults happen, and once all is well again it has to be one array. */
import { createElector, tick } from "../../failover/elector.ts";
import { MERGE_MOST_NS, MERGE_NS } from "../../failover/timing.ts";
import { checkCaches, checkSettled, SETTLE_NS, startMonitor } from "./checks.ts";
import { startClients } from "./clients.ts";
import { boot, placeFaults } from "./faults.ts";
import { kernelRules } from "./kernel.ts";
import { wholeFrom_ms, type Plan } from "./plan.ts";
import { createWorld, MS, type Counts, type Rules, type Violation, type World } from "./world.ts";

/** The array as it is. */
export const soundRules: Rules = { kernel: kernelRules, createElector, tick };

export interface Outcome {
  readonly violation: Violation | undefined;
  readonly counts: Counts;
  /** Empty unless it was asked for. */
  readonly lines: readonly string[];
}

/** A tick, and a frame on its way. */
const ANNOUNCED_NS = 60 * MS;

export function run(plan: Plan, rules: Rules = soundRules, hasTranscript = false): Outcome {
  const world = createWorld(plan, rules, hasTranscript);
  let violation: Violation | undefined;
  try {
    for (const machine of world.machines) {
      world.timeline.at(world.chance() * (world.chance() < 0.3 ? 200 : 60) * MS, () => boot(world, machine));
    }
    startClients(world);
    startMonitor(world);
    placeFaults(world);
    // Machines that are switched on last need some time to start.
    world.timeline.run(wholeFrom_ms(plan) * MS + SETTLE_NS + 60 * MS);
    checkSettled(world);
    untilMerged(world, wholeFrom_ms(plan) * MS + SETTLE_NS);
    checkCaches(world);
  } catch (error) {
    violation = violationOf(error);
  }
  return { violation, counts: world.counts, lines: world.lines ?? [] };
}

/** Clients of a scheduler that lost are told of the other one only when the tables have been merged. */
function untilMerged(world: World, from_ns: number): void {
  const { timeline, machines } = world;
  timeline.run(from_ns + MERGE_NS + ANNOUNCED_NS);
  const isMerging = (): boolean => machines.some(({ kernel }) => kernel.control.isMerging);
  while (isMerging() && timeline.now_ns < from_ns + MERGE_MOST_NS)
    timeline.run(timeline.now_ns + ANNOUNCED_NS);
  timeline.run(timeline.now_ns + ANNOUNCED_NS);
}

function violationOf(error: unknown): Violation {
  const { cause } = error instanceof Error ? error : {};
  // Anything else is an error of the code under test, or of this one.
  if (!isViolation(cause)) throw error;
  return cause;
}

function isViolation(cause: unknown): cause is Violation {
  return typeof cause === "object" && cause !== null && "kind" in cause && "text" in cause;
}
