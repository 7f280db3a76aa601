/** What a scheduling node does once a second: what can wait, and what takes stock. Pure like deciding.ts. */
import type { NodeStatus } from "../conf/messages.ts";
import { judgementOn, policyNodes, type Deciding } from "./deciding.ts";
import { correct, figuresOf } from "./policy/balance.ts";
import { bucketsOf } from "./policy/policy.ts";
import { bucketsWithPrevious, eventsLost, makeMark, nodesTable, release, steerNodes } from "./steering.ts";

/** How often a calm turn is due. */
export const CALM_EVERY_MS = 1000;
/** Effective weights that differ by less are as good as equal: no plan is made anew for them. */
const WEIGHT_STEP = 0.005;

export interface CalmInput {
  readonly now_ns: bigint;
  /** Events of the program that were lost, ever. */
  readonly eventsLost: number;
  /** What the last sweep brought; undefined before there is one. */
  readonly sweep:
    | { readonly last_sweep_at_ms: number | null; readonly answers: ReadonlyMap<number, NodeStatus> }
    | undefined;
}

/** Takes a calm turn. */
export function calmTurn(deciding: Deciding, input: CalmInput): void {
  const { steering, effects, members } = deciding;
  if (input.eventsLost !== deciding.eventsLost) eventsLost(steering);
  deciding.eventsLost = input.eventsLost;
  const withPrevious = bucketsWithPrevious(steering);
  effects.setHasPrevious(withPrevious > 0);
  noteEmpty(deciding);
  forgetSilent(deciding, input.now_ns);
  if (withPrevious > 0 || members.some(({ isDraining }) => isDraining)) makeMark(steering);
  balance(deciding, input);
  effects.feedChanged();
}

/** A draining node's connections count from the version on at which all know that it has no buckets. */
function noteEmpty({ members, steering, emptySince }: Deciding): void {
  const { policy } = nodesTable(steering);
  for (const { config, isDraining } of members) {
    const isEmpty = isDraining && bucketsOf(policy, config.number) === 0;
    if (!isEmpty) emptySince.delete(config.number);
    else if (!emptySince.has(config.number)) emptySince.set(config.number, makeMark(steering));
  }
}

/**
 * Buckets wait for their previous node to tell that it has no connections of them. One that has failed may never tell:
 * after the time that makes a bucket idle it is not waited for any more.
 */
function forgetSilent(deciding: Deciding, now_ns: bigint): void {
  const { members, steering, settings, failedSince_ns } = deciding;
  const timeout_ns = BigInt(settings.bucket_timeout_s) * 1_000_000_000n;
  for (const { config, isInStep } of members) {
    const isAwaited = nodesTable(steering).policy.plan.previous[config.number]! > 0;
    const since_ns = failedSince_ns.get(config.number);
    if (since_ns === undefined || !isAwaited || isInStep || now_ns - since_ns < timeout_ns) continue;
    release(steering, config.number, makeMark(steering), () => false);
  }
}

/** Corrects the weights by what a sweep has brought, once for each. */
function balance(deciding: Deciding, { sweep, now_ns }: CalmInput): void {
  const mode = deciding.settings.balance;
  if (sweep === undefined || mode === "groups" || sweep.last_sweep_at_ms === deciding.sweptAt_ms) return;
  deciding.sweptAt_ms = sweep.last_sweep_at_ms;
  const nodes = deciding.members.map(({ config: { number, weight } }) => {
    // Who gets no traffic tells nothing of how much it could bear.
    const isUp = judgementOn(deciding, number).state === "up";
    const status = isUp ? sweep.answers.get(number) : undefined;
    return { number, weight, figures: status === undefined ? undefined : figuresOf(status) };
  });
  const { state, weights } = correct(deciding.balance, nodes, mode, Number(now_ns / 1_000_000n));
  deciding.balance = state;
  const isOther = [...weights].some(
    ([number, weight]) => Math.abs(weight / (deciding.weights.get(number) ?? 1) - 1) > WEIGHT_STEP,
  );
  if (!isOther) return;
  deciding.weights = weights;
  steerNodes(deciding.steering, "", policyNodes(deciding), []);
}
