/**
 * Two schedulers may have been at work at once, on either side of a network that was cut. When it has healed one of them
 * goes on, and its table counts; but connections that came by the other one live on with the nodes that owned their
 * buckets there. These nodes become the buckets' previous ones, so that second chance finds them, or get the buckets that
 * nobody has here.
 */
import { NOBODY } from "../../conf/limits.ts";
import { boundPrevious, move, place, type Change } from "./choice.ts";
import { heirOf, holderOf, isUnderWay } from "./plan.ts";
import type { Policy } from "./policy.ts";
import { isEligible } from "./standing.ts";
import { ownerOf, previousOf } from "../table.ts";

/**
 * none: that node has the bucket here, too, or nobody had it there. kept: it is named from now on. later: that can't be
 * said while the node is down, a change of the bucket is under way, or another living node has to be named.
 */
export type Merged = { readonly kind: "none" | "later" } | { readonly kind: "kept"; readonly change: Change };

/** Takes in who owned a bucket in a table that lost. Whoever owns it in this one keeps it. */
export function mergeOwner(policy: Policy, bucket: number, owner: number): Merged {
  const { plan, standing } = policy;
  if (owner === NOBODY || !policy.hasSecondChance) return { kind: "none" };
  const isLiving = standing.conditions[owner] !== "down";
  const holder = holderOf(plan, bucket);
  const isNamed = owner === holder || owner === previousOf(plan.words[bucket]!);
  // From here on it is no bucket that may move without leaving anybody behind.
  if (isLiving && isNamed) plan.isFresh[bucket] = 0;
  if (isNamed) return { kind: "none" };
  if (!isLiving || isUnderWay(plan, bucket)) return { kind: "later" };
  const isBound = boundPrevious(policy, bucket) !== NOBODY;
  const isFree = ownerOf(plan.words[bucket]!) === NOBODY && isEligible(standing, owner);
  if (isBound && !isFree) return { kind: "later" };
  plan.isFresh[bucket] = 0;
  // What nobody has here, that node gets with the next packet: so there is room for another previous one.
  const change = isFree
    ? move(policy, bucket, owner)
    : place(policy, bucket, holder, heirOf(plan, bucket), owner);
  return change === undefined ? { kind: "none" } : { kind: "kept", change };
}
