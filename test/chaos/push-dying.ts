/**
 * A pushing command that dies at a given question: `node test/chaos/push-dying.ts FILE CONFIG COMMENT N`. What it has asked before goes
 * out, that question and all later ones don't. It exits as `dlba push` does when it needs fewer.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { describeError, DlbaError } from "../../conf/errors.ts";
import { readText } from "../../cli/generation.ts";
import { pushText } from "../../cli/push/push-text.ts";
import type { PushWorld } from "../../cli/push/proposer.ts";
import { reachArray } from "../../cli/push/target.ts";

/** Answers to the questions of before may still come, and be acted on by nobody. */
const LAST_MS = 150;

const [file = "", config = "", comment = "", diesAt = ""] = process.argv.slice(2);

function dying(world: PushWorld): PushWorld {
  let questions = 0;
  return {
    ...world,
    ask: async (...question) => {
      if (++questions < Number(diesAt)) return world.ask(...question);
      await sleep(LAST_MS);
      process.kill(process.pid, "SIGKILL");
      return world.ask(...question);
    },
  };
}

try {
  const target = await reachArray({ runDir: "/nowhere", config });
  const pushed = { text: readText(file).text, file, comment };
  await pushText({ ...target, world: dying(target.world) }, pushed, { json: true });
} catch (error) {
  if (!(error instanceof DlbaError)) throw error;
  process.stderr.write(`dlba: ${describeError(error)}\n`);
  process.exitCode = 1;
}
