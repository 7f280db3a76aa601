/** The man page, in roff, made from the commands themselves. Pure. */
import { EXIT_MEANINGS } from "../exit-codes.ts";
import { DEFAULT_PIN_DIR, DEFAULT_RUN_DIR, DEFAULT_STATE_DIR } from "../places.ts";
import { usageOf, type CommandRecord } from "./command-tree.ts";

/** dlba(8) of a version. */
export function manPage(tree: CommandRecord, version: string): string {
  return [
    `.TH DLBA 8 "" "dlba ${roff(version)}" "System administration"`,
    ".SH NAME",
    `dlba \\- ${roff(tree.description)}`,
    ".SH SYNOPSIS",
    ".B dlba",
    ".I command",
    "[options]",
    ".SH COMMANDS",
    ...tree.commands.flatMap((command) => commandSection("", command)),
    ".SH EXIT STATUS",
    ...Object.entries(EXIT_MEANINGS).flatMap(([code, meaning]) => [".TP", `.B ${code}`, roff(meaning)]),
    ".SH FILES",
    ...FILES.flatMap(([file, what]) => [".TP", `.I ${roff(file)}`, roff(what)]),
    "",
  ].join("\n");
}

const FILES: readonly (readonly [file: string, what: string])[] = [
  [
    `${DEFAULT_RUN_DIR}/monitor.sock`,
    "answers dlba show, top and events, and collectors of HAProxy; for root and its group",
  ],
  [`${DEFAULT_RUN_DIR}/admin.sock`, "takes changes; for root alone"],
  [DEFAULT_STATE_DIR, "what outlasts a restart of the machine"],
  [DEFAULT_PIN_DIR, "the pinned data plane, which goes on without any process"],
];

function commandSection(before: string, command: CommandRecord): string[] {
  if (command.commands.length > 0) {
    return command.commands.flatMap((each) => commandSection(`${before}${command.name} `, each));
  }
  return [
    `.SS "dlba ${roff(before + usageOf(command))}"`,
    roff(sentence(command.description)),
    ...command.arguments
      .filter(({ description }) => description !== "")
      .flatMap(({ name, description, choices }) => [
        ".TP",
        `.I ${roff(name)}`,
        roff(choices.length === 0 ? description : `${description}: ${choices.join(", ")}`),
      ]),
    ...command.options.flatMap(({ flags, description }) => [".TP", `.B ${roff(flags)}`, roff(description)]),
  ];
}

const sentence = (text: string): string => `${text.slice(0, 1).toUpperCase()}${text.slice(1)}.`;

/** Text that roff takes for nothing but text. */
function roff(text: string): string {
  const escaped = text
    .replaceAll("\\", "\\e")
    .replaceAll("-", "\\-")
    .replaceAll('"', "\\(dq")
    .replaceAll(
      /[^\n -~]/gu,
      (letter) => `\\[u${letter.codePointAt(0)!.toString(16).toUpperCase().padStart(4, "0")}]`,
    );
  return /^[.']/.test(escaped) ? `\\&${escaped}` : escaped;
}
