/**
 * How the array key is changed while the array runs, as step functions: what a node makes of an order, and which order comes next.
 *
 * Every node goes through three stages: it hears the next key, too (prepare); it speaks with it, and still hears the previous one
 * (use); it forgets that (forget). A node may only use a key that every other one hears, and only forget one that no other one
 * uses. So at any moment, whoever dies, is cut off or comes back, any two nodes understand each other. Pure.
 */
import { DlbaError } from "../../conf/errors.ts";
import { keyId, type ArrayKey } from "../../conf/keys.ts";
import { listOf } from "../../conf/suggest.ts";

/** Keys are named by their ids. */
export type KeyOrder =
  | { readonly kind: "prepare"; readonly from: string; readonly key: Uint8Array }
  | { readonly kind: "use" | "forget" | "drop"; readonly id: string };

const nextIdOf = ({ also, isAlsoNext }: ArrayKey): string | null =>
  also !== undefined && isAlsoNext ? keyId(also) : null;
const previousIdOf = ({ also, isAlsoNext }: ArrayKey): string | null =>
  also !== undefined && !isAlsoNext ? keyId(also) : null;

const refused = (text: string): DlbaError => new DlbaError("KEY_REFUSED", text);

/**
 * What a node has after an order: the same object when there is nothing to do, as orders may come twice. Throws DlbaError
 * KEY_REFUSED when the order does not fit; then all stays as it was.
 */
export function afterOrder(held: ArrayKey, order: KeyOrder): ArrayKey {
  switch (order.kind) {
    case "prepare":
      return afterPrepare(held, order.from, order.key);
    case "use":
      return afterUse(held, order.id);
    case "forget":
      return afterForget(held, order.id);
    case "drop":
      return afterDrop(held, order.id);
  }
}

function afterPrepare(held: ArrayKey, from: string, key: Uint8Array): ArrayKey {
  const [id, current, next] = [keyId(key), keyId(held.current), nextIdOf(held)];
  if (next === id || current === id) return held;
  if (current !== from) throw refused(`it speaks with key ${current}, not ${from}`);
  if (held.also !== undefined) throw refused(`another change is under way here: key ${next ?? "?"}`);
  return { ...held, also: key, isAlsoNext: true };
}

function afterUse(held: ArrayKey, id: string): ArrayKey {
  if (keyId(held.current) === id) return held;
  if (held.also === undefined || nextIdOf(held) !== id) throw refused(`it does not know key ${id}`);
  return { ...held, current: held.also, also: held.current, isAlsoNext: false };
}

function afterForget(held: ArrayKey, id: string): ArrayKey {
  if (keyId(held.current) !== id) throw refused(`it speaks with key ${keyId(held.current)}, not ${id}`);
  if (nextIdOf(held) !== null) throw refused("another change has begun here");
  return held.also === undefined ? held : { ...held, also: undefined };
}

function afterDrop(held: ArrayKey, id: string): ArrayKey {
  if (keyId(held.current) === id) throw refused(`it speaks with key ${id} already`);
  return nextIdOf(held) === id ? { ...held, also: undefined, isAlsoNext: false } : held;
}

/** What a node says of itself. */
export interface KeyState {
  readonly current: string;
  readonly next: string | null;
  readonly previous: string | null;
  readonly seed: string;
  /** Processes that have not taken it yet. */
  readonly lagging: readonly string[];
}

export const stateOf = (held: ArrayKey, lagging: readonly string[]): KeyState => ({
  current: keyId(held.current),
  next: nextIdOf(held),
  previous: previousIdOf(held),
  seed: keyId(held.seed),
  lagging,
});

export interface SeenNode {
  readonly node: string;
  /** Undefined: it is away. */
  readonly state: KeyState | undefined;
}

/** From which key to which. */
export interface Change {
  readonly from: string;
  readonly to: string;
}

/** The change that is under way, by what nodes hold; undefined: none. Throws DlbaError KEY_CONFLICT when there are two. */
export function changeUnderWay(seen: readonly SeenNode[]): Change | undefined {
  const found = new Map<string, { readonly change: Change; readonly nodes: string[] }>();
  for (const { node, state } of seen) {
    const change = state === undefined ? undefined : changeOf(state);
    if (change === undefined) continue;
    const name = `${change.from} ${change.to}`;
    const known = found.get(name) ?? { change, nodes: [] };
    known.nodes.push(node);
    found.set(name, known);
  }
  const all = [...found.values()];
  if (all.length < 2) return all[0]?.change;
  const told = all.map(({ change, nodes }) => `to ${change.to} on ${listOf(nodes, "and")}`);
  const hint = "end the ones that nobody uses yet with: dlba key rotate --abandon";
  throw new DlbaError("KEY_CONFLICT", `several changes are under way: ${told.join("; ")}`, { hint });
}

function changeOf({ current, next, previous }: KeyState): Change | undefined {
  if (next !== null) return { from: current, to: next };
  return previous === null ? undefined : { from: previous, to: current };
}

export type Step =
  /** Order this of these nodes, one after the other. */
  | { readonly kind: "prepare" | "use" | "forget"; readonly nodes: readonly string[] }
  /** No further without these: they are away, or have processes that lag. */
  | { readonly kind: "wait"; readonly stage: "use" | "forget"; readonly nodes: readonly string[] }
  | { readonly kind: "done" };

/**
 * What comes next of a change. `self` is prepared first, so that the key outlasts whoever made it. Nodes that are to be left
 * behind are not among `seen`. Throws DlbaError KEY_CONFLICT for a node with a third key or another seed.
 */
export function nextStep(seen: readonly SeenNode[], change: Change, self: string): Step {
  checkKeys(seen, change);
  const where = (holds: (state: KeyState) => boolean): string[] =>
    seen.flatMap(({ node, state }) => (state !== undefined && holds(state) ? [node] : []));
  const unprepared = where(({ current, next }) => current === change.from && next === null);
  if (unprepared.includes(self)) return { kind: "prepare", nodes: [self] };
  if (unprepared.length > 0) return { kind: "prepare", nodes: unprepared };
  const slow = seen.filter(({ state }) => state === undefined || state.lagging.length > 0);
  const nodes = slow.map(({ node }) => node);
  const unused = where(({ current }) => current === change.from);
  if (unused.length > 0)
    return slow.length > 0 ? { kind: "wait", stage: "use", nodes } : { kind: "use", nodes: unused };
  const unforgotten = where(({ previous }) => previous !== null);
  if (slow.length > 0) return { kind: "wait", stage: "forget", nodes };
  return unforgotten.length > 0 ? { kind: "forget", nodes: unforgotten } : { kind: "done" };
}

function checkKeys(seen: readonly SeenNode[], { from, to }: Change): void {
  const seeds = new Set(seen.flatMap(({ state }) => state?.seed ?? []));
  const strange = seen.filter(({ state }) => {
    const keys = state === undefined ? [] : [state.current, state.next, state.previous];
    return keys.some((key) => key !== null && key !== from && key !== to);
  });
  if (strange.length === 0 && seeds.size < 2) return;
  const names = listOf(
    strange.length > 0 ? strange.map(({ node }) => node) : seen.map(({ node }) => node),
    "and",
  );
  const text =
    strange.length > 0 ? `${names} holds another key than the others` : `${names} have different seeds`;
  throw new DlbaError("KEY_CONFLICT", text, { hint: "such a node has to join again: dlba token, dlba join" });
}

/**
 * The nodes that have to drop a change that has begun and is to be given up, and its keys. Throws DlbaError KEY_WAITS when a node
 * is away, KEY_CONFLICT when one speaks with the next key already: then it can only be carried through.
 */
export function abandoned(
  seen: readonly SeenNode[],
): readonly { readonly node: string; readonly id: string }[] {
  const away = seen.filter(({ state }) => state === undefined).map(({ node }) => node);
  if (away.length > 0) {
    const hint = "it may speak with the next key already; wait for it, or name it with --without";
    throw new DlbaError("KEY_WAITS", `${listOf(away, "and")} can't be asked`, { hint });
  }
  const used = seen.filter(({ state }) => state !== undefined && state.previous !== null);
  if (used.length > 0) {
    const hint = "carry it through: dlba key rotate";
    const names = listOf(
      used.map(({ node }) => node),
      "and",
    );
    throw new DlbaError("KEY_CONFLICT", `${names} speaks with the next key already`, { hint });
  }
  return seen.flatMap(({ node, state }) => (state?.next == null ? [] : [{ node, id: state.next }]));
}
