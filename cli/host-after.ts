/** What has to be said when the host can't be made ready after all processes have taken a new configuration. */
import { describeError } from "../conf/errors.ts";
import type { Logger } from "../status/log.ts";

/**
 * Makes the host ready, and resolves with what an operator has to know: nothing, when that went well. It never rejects: the
 * configuration is in force by then, and whoever asked must not hear that nothing was changed.
 */
export async function prepareAfter(
  prepare: () => Promise<void>,
  former: readonly string[],
  log: Logger,
): Promise<string[]> {
  try {
    await prepare();
    return [];
  } catch (error) {
    const reason = describeError(error);
    log.error({ reason, former_vips: former }, "the new configuration is in force, but VIPs on lo are not");
    const left = former.length === 0 ? "" : `; take off what is left of ${former.join(", ")}`;
    return [
      `the new configuration is in force, but VIPs on lo could not be brought into line: ${reason}${left}`,
    ];
  }
}
