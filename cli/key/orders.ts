/** Orders about the array key as lines, and answers as JSON. Pure. */
import { z } from "zod";
import { ARRAY_KEY_BYTES } from "../../conf/limits.ts";
import { parseJson } from "../../conf/record.ts";
import type { KeyOrder, KeyState } from "./stages.ts";

export const STATE_LINE = "key state";

/** The line that gives an order. It holds the key itself when that is to be prepared. */
export const orderLine = (order: KeyOrder): string =>
  order.kind === "prepare"
    ? `key prepare ${order.from} ${Buffer.from(order.key).toString("base64")}`
    : `key ${order.kind} ${order.id}`;

const ID = /^[0-9a-f]{16}$/;

/** The order of a line; "state" asks; undefined: it is none. */
export function readOrder(line: string): KeyOrder | "state" | undefined {
  if (line === STATE_LINE) return "state";
  const [word, kind, id = "", secret = "", more] = line.split(" ");
  if (word !== "key" || !ID.test(id) || more !== undefined) return undefined;
  if (kind === "prepare") {
    const key = Buffer.from(secret, "base64");
    const isKey = key.length === ARRAY_KEY_BYTES && key.toString("base64") === secret;
    return isKey ? { kind, from: id, key } : undefined;
  }
  if ((kind !== "use" && kind !== "forget" && kind !== "drop") || secret !== "") return undefined;
  return { kind, id };
}

const id = z.string().regex(ID);
const answer = z.union([
  z.strictObject({
    current: id,
    next: id.nullable(),
    previous: id.nullable(),
    seed: id,
    lagging: z.array(z.string().max(64)).max(1024),
  }),
  z.strictObject({ refused: z.string().max(1000) }),
]);

/** What a node answers: how it stands after the order, or why it has not carried it out. */
export type KeyAnswer = KeyState | { readonly refused: string };

/** Undefined for what is no answer. */
export const readKeyAnswer = (text: string): KeyAnswer | undefined => answer.safeParse(parseJson(text)).data;
