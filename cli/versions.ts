/** `dlba history`, `diff`, `revert` and `export`: the versions of the configuration that were pushed. */
import type { Command } from "commander";
import { DlbaError } from "../conf/errors.ts";
import { PUSH_ASK_MS } from "../conf/limits.ts";
import { readConfigFile } from "../conf/load.ts";
import { EXIT } from "./exit-codes.ts";
import { versionNumber, withPushOptions } from "./push.ts";
import { difference, type NamedText } from "./push/difference.ts";
import { historyLines, nodeLines } from "./push/history-lines.ts";
import type { VersionRecord } from "./push/messages.ts";
import { latestOf } from "./push/proposer.ts";
import { fetchText, nameOf, pushText, type PushOptions } from "./push/push-text.ts";
import { reachArray, withPlace, type Place, type Target } from "./push/target.ts";

/** Adds them to the command line. */
export function registerVersions(program: Command): void {
  withPlace(
    program.command("history").description("the versions that were pushed, and which one each node runs"),
  )
    .option("--json", "as one JSON object")
    .action(async (options: Place & { readonly json?: boolean }) => history(options));
  withPlace(
    program
      .command("diff")
      .description(
        "what differs: a file, or a version, from what is in force, or two versions; exits 1 if anything does",
      )
      .argument("<from>", "a file, or a version's number")
      .argument("[to]", "the same; what is in force when left out"),
  )
    .option("--json", "as one JSON object")
    .action(async (from: string, to: string | undefined, options: Place & { readonly json?: boolean }) =>
      diff(from, to, options),
    );
  withPlace(
    program
      .command("export")
      .description("print the configuration that is in force, or a version of before")
      .argument("[version]", "its number", versionNumber),
  ).action(async (version: number | undefined, options: Place) => {
    const target = await reachArray(options);
    process.stdout.write((await versionText(target, version)).text);
  });
  withPushOptions(
    program
      .command("revert")
      .description("push a version of before again, as the next one")
      .argument("<version>", "its number", versionNumber),
  ).action(async (version: number, options: Place & PushOptions) => {
    const target = await reachArray(options);
    const { name, text } = await versionText(target, version);
    await pushText(
      target,
      { text, file: name, comment: options.comment ?? `back to version ${version}` },
      options,
    );
  });
}

/** What all nodes that answer have had in force, the newest first. */
async function versionsOf({ world, peers }: Target): Promise<VersionRecord[]> {
  const lists = await Promise.all(
    peers.map(async (peer) => {
      const answer = await world.ask(peer, { ask: "history" }, PUSH_ASK_MS).catch((error: unknown) => {
        if (error instanceof DlbaError) return undefined;
        throw error;
      });
      return answer?.kind === "history" ? answer.records : [];
    }),
  );
  const byNumber = new Map(lists.flat().map((record) => [record.number, record]));
  return [...byNumber.values()].toSorted((a, b) => b.number - a.number);
}

async function history(options: Place & { readonly json?: boolean }): Promise<void> {
  const target = await reachArray(options);
  const versions = await versionsOf(target);
  const nodes = nodeLines(target.peers, target.states);
  if (options.json === true) return void process.stdout.write(`${JSON.stringify({ versions, nodes })}\n`);
  process.stdout.write(historyLines(versions, nodes));
}

/** A version's text; that of the one in force without a number. Throws DlbaError VERSION_UNKNOWN. */
async function versionText(target: Target, number: number | undefined): Promise<NamedText> {
  const current = latestOf(target.states);
  const isCurrent = number === undefined || number === current?.number;
  const record = isCurrent ? current : (await versionsOf(target)).find((each) => each.number === number);
  const text = record === undefined ? undefined : await fetchText(target, record.hash);
  if (record !== undefined && text !== undefined) return { name: nameOf(record), text };
  throw new DlbaError("VERSION_UNKNOWN", `no node that answers has version ${number ?? "in force"}`, {
    hint: "'dlba history' lists those that are kept",
  });
}

async function diff(
  from: string,
  to: string | undefined,
  options: Place & { readonly json?: boolean },
): Promise<void> {
  const target = await reachArray(options);
  const named = async (text: string): Promise<NamedText> =>
    /^\d+$/.test(text)
      ? versionText(target, versionNumber(text))
      : { name: text, text: readConfigFile(text) };
  const first = await named(from);
  // Of a file it is asked what it would change; of a version, what has changed since.
  const inForce = to === undefined ? await versionText(target, undefined) : undefined;
  const isFile = !/^\d+$/.test(from);
  const pair =
    inForce === undefined ? [first, await named(to!)] : isFile ? [inForce, first] : [first, inForce];
  const lines = await difference(pair[0]!, pair[1]!);
  const facts = { from: pair[0]!.name, to: pair[1]!.name, diff: lines };
  process.stdout.write(options.json === true ? `${JSON.stringify(facts)}\n` : lines);
  process.exitCode = lines === "" ? EXIT.ok : EXIT.found;
}
