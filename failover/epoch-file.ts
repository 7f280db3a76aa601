/**
 * Remembers on disk how far epochs have come, so that a machine that was switched off never claims one that was used. It
 * is written ahead, in steps: a takeover never waits for a disk.
 */
import { readFileSync } from "node:fs";
import { open, rename } from "node:fs/promises";
import { join } from "node:path";
import { describeError } from "../conf/errors.ts";
import { MAX_EPOCH_COUNTER } from "../conf/epoch.ts";
import { isRecord, parseJson } from "../conf/record.ts";
import type { Logger } from "../status/log.ts";

const NAME = "epoch.json";

export interface EpochFile {
  /** The counter that no epoch is claimed below, as the file had it at the start. */
  readonly floor: number;
  /** Has a counter written; a later one while a write is under way is written after it. */
  reserve(counter: number): void;
  /** What is on disk for certain. */
  readonly reserved: number;
}

/** Reads what an earlier life of this node has left; 0 when there is nothing that can be read. */
export function openEpochFile(runDir: string, log: Logger): EpochFile {
  const path = join(runDir, NAME);
  const floor = readFloor(path, log);
  const state = { wanted: floor, reserved: floor, isWriting: false, isTold: false };
  const write = async (): Promise<void> => {
    state.isWriting = true;
    while (state.reserved < state.wanted) {
      const counter = state.wanted;
      try {
        await replaceFile(path, `${JSON.stringify({ counter })}\n`);
        state.reserved = counter;
        state.isTold = false;
      } catch (error) {
        if (!state.isTold)
          log.error({ path, reason: describeError(error) }, "the epoch can't be kept on disk");
        state.isTold = true;
        break;
      }
    }
    state.isWriting = false;
  };
  return {
    floor,
    reserve: (counter) => {
      state.wanted = Math.max(state.wanted, Math.min(counter, MAX_EPOCH_COUNTER));
      if (!state.isWriting && state.reserved < state.wanted) void write();
    },
    get reserved() {
      return state.reserved;
    },
  };
}

function readFloor(path: string, log: Logger): number {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch {
    return 0; // The first start of this node.
  }
  const value = parseJson(text);
  const counter = isRecord(value) ? value["counter"] : undefined;
  if (typeof counter === "number" && Number.isSafeInteger(counter) && counter >= 0) {
    return Math.min(counter, MAX_EPOCH_COUNTER - 1);
  }
  log.warn({ path }, "the epoch's file can't be read and is made anew");
  return 0;
}

/** All or nothing, and on the disk: a new file takes the place of the old one. */
async function replaceFile(path: string, text: string): Promise<void> {
  const fresh = `${path}.new`;
  const file = await open(fresh, "w", 0o644);
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(fresh, path);
}
