/** How the nodes of a table stand: who may get buckets, and how many would be fair. */
import { columnOf, type Plan } from "./plan.ts";

/**
 * up: may get buckets. leaving: its kernel lives, but its buckets go to others (disabled, draining, or failed as a
 * process). down: its kernel is silent.
 */
export type Condition = "up" | "leaving" | "down";

export interface PolicyNode {
  readonly number: number;
  /** Relative to the others; may be fractional. 0: it gets nothing, and what it has goes to the others by and by. */
  readonly weight: number;
  readonly condition: Condition;
}

export interface Standing {
  /** By node number; a node that nobody knows is down. */
  readonly conditions: readonly Condition[];
  /** By node number; 0 for those that may not get buckets. */
  readonly weights: Float64Array;
  /** Fair shares in buckets, by node number. */
  readonly fair: Float64Array;
  readonly total: number;
  /** Who may get buckets; their columns in the plan and what one bucket more is to them, in the same order. */
  readonly eligible: readonly number[];
  readonly columns: Int32Array;
  readonly loads: Float64Array;
  /** Who is up: the eligible ones, and those without weight. */
  readonly up: readonly number[];
}

const ROWS = 256;

/** What follows from the nodes' conditions and weights for a plan's table. */
export function standingOf(plan: Plan, nodes: readonly PolicyNode[]): Standing {
  const conditions = Array.from<Condition>({ length: ROWS }).fill("down");
  const weights = new Float64Array(ROWS);
  for (const { number, weight, condition } of nodes) {
    conditions[number] = condition;
    if (condition === "up") weights[number] = weight;
  }
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  const up = nodes.filter(({ condition }) => condition === "up").map(({ number }) => number);
  const eligible = up.filter((number) => weights[number]! > 0);
  return {
    conditions,
    weights,
    fair: weights.map((weight) => (total === 0 ? 0 : (plan.size * weight) / total)),
    total,
    eligible,
    columns: Int32Array.from(eligible, (number) => columnOf(plan, number)),
    loads: Float64Array.from(eligible, (number) => 1 / weights[number]!),
    up,
  };
}

/** Whether a node may get buckets. */
export const isEligible = ({ weights }: Standing, number: number): boolean => weights[number]! > 0;
