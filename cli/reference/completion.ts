/**
 * Scripts that complete `dlba` commands in a shell, made from the commands themselves. Pure. zsh runs the bash script by its
 * own emulation, so there is one mechanism for both.
 */
import type { CommandRecord } from "./command-tree.ts";

export const SHELLS = ["bash", "zsh", "fish"] as const;
export type Shell = (typeof SHELLS)[number];

/** The script for a shell. */
export function completionScript(tree: CommandRecord, shell: Shell): string {
  if (shell === "fish") return fishScript(tree);
  return shell === "zsh"
    ? `#compdef dlba\nautoload -U +X bashcompinit && bashcompinit\n${bashScript(tree)}`
    : bashScript(tree);
}

/** Options whose value is a file or a directory. */
const isPath = (takes: string | undefined): boolean =>
  takes !== undefined && /^(?:file|dir|directory)$/.test(takes);

interface Place {
  /** Names of the commands that lead here: `lab up`; empty at the top. */
  readonly path: string;
  readonly command: CommandRecord;
}

function placesOf(command: CommandRecord, path = ""): Place[] {
  const below = command.commands.flatMap((each) =>
    placesOf(each, path === "" ? each.name : `${path} ${each.name}`),
  );
  return [{ path, command }, ...below];
}

/** What may stand next: commands, choices of arguments, options. */
function wordsOf({ commands, options, arguments: taken }: CommandRecord): string[] {
  const names = commands.map(({ name }) => name);
  const choices = taken.flatMap((argument) => argument.choices);
  return [...names, ...choices, ...options.flatMap(({ long, short }) => long ?? short ?? []), "--help"];
}

const takesFile = ({ arguments: taken }: CommandRecord): boolean => taken.some(({ name }) => isPath(name));

function bashScript(tree: CommandRecord): string {
  const places = placesOf(tree);
  const valued = new Set(
    places.flatMap(({ command }) =>
      command.options.flatMap(({ long, takes }) => (takes === undefined ? [] : (long ?? []))),
    ),
  );
  const paths = new Set(
    places.flatMap(({ command }) =>
      command.options.flatMap(({ long, takes }) => (isPath(takes) ? (long ?? []) : [])),
    ),
  );
  const others = [...valued].filter((name) => !paths.has(name));
  const cases = places.map(({ path, command }) => {
    const files = takesFile(command) ? " files=1" : "";
    return `    "${path}") words="${wordsOf(command).join(" ")}"${files} ;;`;
  });
  const groups = places
    .filter(({ command, path }) => command.commands.length > 0 && path !== "")
    .map(({ path }) => `"${path}"`);
  return `_dlba() {
  local current="\${COMP_WORDS[COMP_CWORD]}" previous="\${COMP_WORDS[COMP_CWORD-1]}"
  local place="" words="" files=0 i word
  COMPREPLY=()
  case "$previous" in
    ${[...paths].join("|")}) COMPREPLY=($(compgen -f -- "$current")); return ;;
    ${others.join("|")}) return ;;
  esac
  for ((i = 1; i < COMP_CWORD; i++)); do
    word="\${COMP_WORDS[i]}"
    case "$word" in
      -*) continue ;;
    esac
    if [[ -z "$place" ]]; then place="$word"
    else case "$place" in
      ${groups.join("|")}) place="$place $word" ;;
    esac; fi
  done
  case "$place" in
${cases.join("\n")}
  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
  if [[ $files = 1 && "$current" != -* ]]; then COMPREPLY+=($(compgen -f -- "$current")); fi
}
complete -o filenames -F _dlba dlba
`;
}

const quoted = (text: string): string => `'${text.replaceAll("\\", "\\\\").replaceAll("'", "\\'")}'`;

function fishScript(tree: CommandRecord): string {
  const lines = ["complete -c dlba -f"];
  for (const { path, command } of placesOf(tree)) {
    const condition = path === "" ? "__fish_use_subcommand" : conditionOf(path, command);
    const at = `complete -c dlba -n ${quoted(condition)}`;
    for (const { name, description } of command.commands)
      lines.push(`${at} -a ${name} -d ${quoted(description)}`);
    const choices = command.arguments.flatMap((argument) => argument.choices);
    if (choices.length > 0) lines.push(`${at} -a ${quoted(choices.join(" "))}`);
    if (takesFile(command)) lines.push(`${at} -F`);
    for (const { long, short, takes, description } of command.options) {
      const names = [
        long === undefined ? "" : `-l ${long.slice(2)}`,
        short === undefined ? "" : `-s ${short.slice(1)}`,
      ];
      const value = takes === undefined ? "" : isPath(takes) ? "-r -F" : "-x";
      lines.push([at, ...names, value, `-d ${quoted(description)}`].filter((part) => part !== "").join(" "));
    }
  }
  return `${lines.join("\n")}\n`;
}

function conditionOf(path: string, { commands }: CommandRecord): string {
  const seen = path.split(" ").map((name) => `__fish_seen_subcommand_from ${name}`);
  if (commands.length > 0)
    seen.push(`not __fish_seen_subcommand_from ${commands.map(({ name }) => name).join(" ")}`);
  return seen.join("; and ");
}
