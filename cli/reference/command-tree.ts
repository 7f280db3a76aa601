/** The commands of a program as plain records, for shell completion and the man page. Pure. */
import type { Command } from "commander";

export interface OptionRecord {
  /** `--json`; undefined for one that has a short form alone. */
  readonly long: string | undefined;
  readonly short: string | undefined;
  /** `-f, --follow`, with what it takes. */
  readonly flags: string;
  readonly description: string;
  /** What it takes, such as `file`; undefined for a switch. */
  readonly takes: string | undefined;
}
export interface ArgumentRecord {
  readonly name: string;
  readonly description: string;
  readonly isNeeded: boolean;
  readonly isVariadic: boolean;
  readonly choices: readonly string[];
}
export interface CommandRecord {
  readonly name: string;
  readonly description: string;
  readonly options: readonly OptionRecord[];
  readonly arguments: readonly ArgumentRecord[];
  readonly commands: readonly CommandRecord[];
}

/** A command with all below it; hidden ones are left out. */
export function commandTree(command: Command): CommandRecord {
  return {
    name: command.name(),
    description: command.description(),
    options: command.options
      .filter(({ hidden }) => !hidden)
      .map(({ long, short, flags, description }) => ({
        long: long ?? undefined,
        short: short ?? undefined,
        flags,
        description,
        takes: /[<[]([\w-]+)(?:\.\.\.)?[>\]]/.exec(flags)?.[1],
      })),
    arguments: command.registeredArguments.map((argument) => ({
      name: argument.name(),
      description: argument.description,
      isNeeded: argument.required,
      isVariadic: argument.variadic,
      choices: argument.argChoices ?? [],
    })),
    commands: command.commands.map(commandTree),
  };
}

/** `dlba show [options] <table> [rows]`, without what stands before the command's own name. */
export function usageOf({ name, options, arguments: taken, commands }: CommandRecord): string {
  const parts = taken.map(({ name: argument, isNeeded, isVariadic }) => {
    const text = `${argument}${isVariadic ? "..." : ""}`;
    return isNeeded ? `<${text}>` : `[${text}]`;
  });
  return [
    name,
    ...(options.length > 0 ? ["[options]"] : []),
    ...parts,
    ...(commands.length > 0 ? ["<command>"] : []),
  ].join(" ");
}
