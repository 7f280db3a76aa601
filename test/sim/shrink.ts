/** The least that still fails: faults are left out one by one, then shortened. */
import type { Plan } from "./plan.ts";
import { run, soundRules } from "./run.ts";
import type { Rules } from "./world.ts";

/** A plan with as few faults as possible that fails in the same way as this one. */
export function shrink(plan: Plan, kind: string, rules: Rules = soundRules): Plan {
  const fails = (smaller: Plan): boolean => run(smaller, rules).violation?.kind === kind;
  const without = leaveOut(plan, fails);
  const faults = without.faults.map((_, at) => at);
  return faults.reduce((best, at) => shorten(best, at, fails), without);
}

function leaveOut(plan: Plan, fails: (smaller: Plan) => boolean): Plan {
  for (let at = 0; at < plan.faults.length; at++) {
    const smaller = { ...plan, faults: plan.faults.filter((_, i) => i !== at) };
    if (fails(smaller)) return leaveOut(smaller, fails);
  }
  return plan;
}

function shorten(plan: Plan, at: number, fails: (smaller: Plan) => boolean): Plan {
  const faults = plan.faults.map((fault, i) => {
    return i === at ? { ...fault, for_ms: Math.ceil(fault.for_ms / 2) } : fault;
  });
  const smaller = { ...plan, faults };
  if (plan.faults[at]!.for_ms <= 1 || !fails(smaller)) return plan;
  return shorten(smaller, at, fails);
}
