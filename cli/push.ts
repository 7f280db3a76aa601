/** `dlba push FILE`: one configuration for all nodes, or for none. */
import { InvalidArgumentError, type Command } from "commander";
import { MAX_VERSION_NUMBER, PUSH_WATCH_MOST_S } from "../conf/limits.ts";
import type { PushOptions } from "./push/push-text.ts";
import { withPlace, type Place } from "./push/target.ts";

/** Adds `push` to the command line. */
export function registerPush(program: Command): void {
  withPushOptions(
    program
      .command("push")
      .description(
        "give all nodes a new configuration: checked by every one of them, in force on all of them or on none",
      )
      .argument("<file>", "the array's new configuration"),
  ).action(async (file: string, options: PushOptions & Place) => push(file, options));
}

/** Options of all that push a version. */
export const withPushOptions = (command: Command): Command =>
  withPlace(command)
    .option("-m, --comment <text>", "why, for the history", comment)
    .option("-y, --yes", "without asking; nobody is asked where there is no terminal")
    .option("--dry-run", "show the difference and have all nodes check it, no more")
    .option("--expect <version>", "only if this version is in force, for scripts", versionNumber)
    .option(
      "--watch <time>",
      "watch for so long, such as 30s or 5m, and go back by itself if the array is worse off",
      duration,
    )
    .option("--on-restart", "let it be what needs a restart: nodes run it from their next start on")
    .option("--json", "what came of it, as one JSON object");

/** Throws InvalidArgumentError. */
export function versionNumber(text: string): number {
  const number = Number(text);
  if (/^\d{1,9}$/.test(text) && number <= MAX_VERSION_NUMBER) return number;
  throw new InvalidArgumentError("expected the number of a version: 'dlba history' lists them");
}

function comment(text: string): string {
  if (text.length <= 255 && !/\p{Cc}/u.test(text)) return text;
  throw new InvalidArgumentError("expected one line of 255 characters at most");
}

function duration(text: string): number {
  const [, count, unit] = /^(\d{1,4})(s|m)?$/.exec(text) ?? [];
  const seconds = Number(count) * (unit === "m" ? 60 : 1);
  if (seconds >= 1 && seconds <= PUSH_WATCH_MOST_S) return seconds;
  throw new InvalidArgumentError(`expected a time such as 30s or 5m, from 1s to ${PUSH_WATCH_MOST_S}s`);
}

async function push(file: string, options: PushOptions & Place): Promise<void> {
  const [{ readText }, { reachArray }, { pushText }] = await Promise.all([
    import("./generation.ts"),
    import("./push/target.ts"),
    import("./push/push-text.ts"),
  ]);
  // What is wrong by itself reaches no node.
  const { text } = readText(file);
  const target = await reachArray(options, file);
  await pushText(target, { text, file: file.slice(-255), comment: options.comment ?? "" }, options);
}
