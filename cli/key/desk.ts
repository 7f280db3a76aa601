/** A node's side of changing the array key, in its supervisor: first the disk has it, then the processes, then the answer leaves. */
import { readFileSync } from "node:fs";
import { describeError, DlbaError, isOperatingError } from "../../conf/errors.ts";
import { arrayKeyText, parseArrayKey } from "../../conf/keys.ts";
import type { Logger } from "../../status/log.ts";
import type { RunningNode } from "../running-node.ts";
import { replaceFile } from "../whole-files.ts";
import { readOrder, type KeyAnswer } from "./orders.ts";
import { afterOrder, stateOf, type KeyOrder } from "./stages.ts";

/** Answers a line that begins with "key ". Throws DlbaError UNKNOWN_COMMAND, which does not repeat it. */
export async function answerKey(line: string, running: RunningNode, log: Logger): Promise<KeyAnswer> {
  const order = readOrder(line);
  if (order === undefined) throw new DlbaError("UNKNOWN_COMMAND", "that is no order about the array key");
  try {
    const { text, lagging } = await running.takeKey((path, before) => {
      const onDisk = readFileSync(path, "latin1");
      if (onDisk !== before)
        throw new DlbaError("KEY_REFUSED", `${path} holds something else than what runs`);
      return order === "state" ? before : carryOut(path, before, order, log);
    });
    if (lagging.length > 0) log.warn({ processes: lagging }, "processes have not taken the array key yet");
    return stateOf(parseArrayKey(text, "that runs"), lagging);
  } catch (error) {
    if (!isOperatingError(error)) throw error;
    const reason = describeError(error);
    if (order !== "state") log.error({ order: order.kind, reason }, "the array key was not changed");
    return { refused: reason };
  }
}

/** The text that the file has after an order. */
function carryOut(path: string, before: string, order: KeyOrder, log: Logger): string {
  const held = parseArrayKey(before, path);
  const after = afterOrder(held, order);
  if (after === held) return before;
  const text = arrayKeyText(after);
  replaceFile(path, text, 0o600);
  const { current, next, previous } = stateOf(after, []);
  log.info({ order: order.kind, key: current, next, previous }, "the array key is being changed");
  return text;
}
