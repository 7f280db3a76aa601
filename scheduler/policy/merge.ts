/**
 * Nodes may have connections that the table does not lead to: another scheduler was at work, on the other side of a network
 * that was cut. These nodes become the buckets' previous ones, so that second chance finds them, or get the buckets
 * that nobody has here.
 */
import { NOBODY } from "../../conf/limits.ts";
import { boundPrevious, move, place, type Change } from "./choice.ts";
import { heirOf, holderOf, isUnderWay } from "./plan.ts";
import type { Policy } from "./policy.ts";
import { isEligible } from "./standing.ts";
import { ownerOf, previousOf } from "../table.ts";

/**
 * none: the table leads to that node already. kept: it is named from now on. later: that can't be said while the node is down,
 * a change of the bucket is under way, or another living node has to be named.
 */
export type Merged =
  | { readonly kind: "none" }
  /** `inPlaceOf`: the node that has to be named instead, if that is why. */
  | { readonly kind: "later"; readonly inPlaceOf: number | undefined }
  | { readonly kind: "kept"; readonly change: Change };

/** Takes in that a node has connections of a bucket. Whoever owns it keeps it. */
export function mergeConnection(policy: Policy, bucket: number, number: number): Merged {
  const { plan, standing } = policy;
  if (!policy.hasSecondChance) return { kind: "none" };
  const isLiving = standing.conditions[number] !== "down";
  const holder = holderOf(plan, bucket);
  const isNamed = number === holder || number === previousOf(plan.words[bucket]!);
  // From here on it is no bucket that may move without leaving anybody behind.
  if (isLiving && isNamed) plan.isFresh[bucket] = 0;
  if (isNamed) return { kind: "none" };
  if (!isLiving || isUnderWay(plan, bucket)) return { kind: "later", inPlaceOf: undefined };
  const bound = boundPrevious(policy, bucket);
  const isFree = ownerOf(plan.words[bucket]!) === NOBODY && isEligible(standing, number);
  if (bound !== NOBODY && !isFree) return { kind: "later", inPlaceOf: bound };
  plan.isFresh[bucket] = 0;
  // What nobody has here, that node gets with the next packet: so there is room for another previous one.
  const change = isFree
    ? move(policy, bucket, number)
    : place(policy, bucket, holder, heirOf(plan, bucket), number);
  return change === undefined ? { kind: "none" } : { kind: "kept", change };
}
