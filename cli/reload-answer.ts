/** How a reload is answered, whoever asked for it: an operator, a signal, or certificate files that have changed. */
import { describeError, isOperatingError } from "../conf/errors.ts";
import type { Logger } from "../status/log.ts";

export interface ReloadAnswer {
  readonly ok: boolean;
  readonly lines: readonly string[];
}

/** Reloads, and says in the log and in return what came of it. A node that can't go on with it goes on as it was. */
export async function answerReload(
  reload: () => Promise<string[]>,
  cause: string,
  log: Logger,
): Promise<ReloadAnswer> {
  try {
    const lines = await reload();
    log.info({ cause, done: lines }, "a reload was asked for");
    return { ok: true, lines };
  } catch (error) {
    if (!isOperatingError(error)) throw error;
    const lines = describeError(error).split("\n");
    log.error({ cause, reason: lines }, "nothing was changed: the reload can't be done");
    return { ok: false, lines };
  }
}
