/** A draft as the text of a configuration that has no errors: what the checks refuse is taken out, and said. Pure. */
import { Document, isMap, isSeq, type Node, type Scalar, type YAMLMap } from "yaml";
import type { ConfigError } from "../../conf/config-error.ts";
import { parseConfig } from "../../conf/load.ts";
import type { ConfigInput } from "../../conf/schema.ts";
import type { TakenPool } from "./haproxy-backend.ts";
import type { Section } from "./haproxy-lines.ts";
import type { Draft, TakenVserver } from "./haproxy.ts";
import { type Line, type Note, noteText } from "./notes.ts";

export interface Composed {
  readonly yaml: string;
  readonly notes: readonly Note[];
  /** What the checks still refuse; empty but for what can't be mended by leaving something out. */
  readonly errors: readonly ConfigError[];
}

export interface ComposeOptions {
  /** The file that was read, as notes name it. */
  readonly file: string;
  readonly arrayName: string;
}

interface Parts {
  vservers: TakenVserver[];
  pools: TakenPool[];
}

const MOST_ROUNDS = 1000;

export function compose(draft: Draft, keepalivedNotes: readonly Note[], options: ComposeOptions): Composed {
  const parts: Parts = { vservers: [...draft.vservers], pools: [...draft.pools] };
  for (let round = 0; ; round++) {
    const yaml = textOf(draft, parts, keepalivedNotes, options);
    const parsed = parseConfig(yaml, "dlba.yaml");
    const errors = "errors" in parsed ? parsed.errors : [];
    const isMended = errors.some((error) => takeOut(error, parts, draft));
    if (isMended && round < MOST_ROUNDS) continue;
    return { yaml, notes: [...draft.ledger.notes(), ...keepalivedNotes], errors };
  }
}

const NEEDED_OF_POOLS = new Set(["name", "servers", "scheduling"]);

/** Takes the part out that an error is about, if the rest is better without it. */
function takeOut({ path, message, hint }: ConfigError, parts: Parts, { ledger }: Draft): boolean {
  const refuse = (line: Line): void => ledger.note(line, "left-out", `${message}; ${hint}`);
  const [, v = "", r] = /^vservers\[(\d+)\](?:\.rules\[(\d+)\])?/.exec(path) ?? [];
  const [, p = "", s] = /^pools\[(\d+)\](?:\.servers\[(\d+)\])?/.exec(path) ?? [];
  const vserver = parts.vservers[Number(v || NaN)];
  const pool = parts.pools[Number(p || NaN)];
  if (vserver !== undefined && r !== undefined) {
    refuse(vserver.rules[Number(r)]!.line);
    parts.vservers[Number(v)] = { ...vserver, rules: vserver.rules.toSpliced(Number(r), 1) };
    return true;
  }
  if (vserver !== undefined) {
    refuse(vserver.section.line);
    parts.vservers.splice(Number(v), 1);
    return parts.vservers.length > 0;
  }
  const [, key = ""] = /^pools\[\d+\]\.(\w+)/.exec(path) ?? [];
  if (pool !== undefined && key !== "" && !NEEDED_OF_POOLS.has(key)) {
    refuse(pool.section.line);
    const rest = Object.fromEntries(Object.entries(pool.pool).filter(([name]) => name !== key));
    parts.pools[Number(p)] = { ...pool, pool: { ...rest, name: pool.pool.name, servers: pool.pool.servers } };
    return true;
  }
  if (pool === undefined || s === undefined || pool.pool.servers.length < 2) return false;
  refuse(pool.servers[Number(s)] ?? pool.section.line);
  parts.pools[Number(p)] = {
    ...pool,
    servers: pool.servers.toSpliced(Number(s), 1),
    pool: { ...pool.pool, servers: pool.pool.servers.toSpliced(Number(s), 1) },
  };
  return true;
}

const KEY_FILE = "/etc/dlba/array.key";
const ACCESS_LOG = "/var/log/dlba/access.log";

function configOf(
  { nodes, timeouts, isLogged }: Draft,
  { vservers, pools }: Parts,
  arrayName: string,
): ConfigInput {
  return {
    array: { name: arrayName, key_file: KEY_FILE },
    nodes,
    vservers: vservers.map(({ vserver, rules }) =>
      rules.length === 0 ? vserver : { ...vserver, rules: rules.map(({ rule }) => rule) },
    ),
    ...(pools.length > 0 ? { pools: pools.map(({ pool }) => serversLast(pool)) } : {}),
    ...(Object.keys(timeouts).length > 0 ? { timeouts } : {}),
    ...(isLogged ? { access_log: { file: ACCESS_LOG } } : {}),
  };
}

const serversLast = ({ servers, ...rest }: TakenPool["pool"]): TakenPool["pool"] => ({ ...rest, servers });

function textOf(
  draft: Draft,
  parts: Parts,
  keepalivedNotes: readonly Note[],
  { file, arrayName }: ComposeOptions,
): string {
  const document = new Document(configOf(draft, parts, arrayName), { aliasDuplicateObjects: false });
  const notes = draft.ledger.notes();
  const used = new Set<Note>();
  const comment = (path: readonly (string | number)[], section: Section): void => {
    const own = notes.filter((note) => isOf(note, section) && note.kind !== "not-needed");
    const said = own.filter((note) => !used.has(note));
    for (const note of said) used.add(note);
    const head = `${file}:${section.line.number} ${section.kind} ${section.name}`;
    before(document.getIn(path, true), [head, ...said.map(shortText)]);
  };
  parts.vservers.forEach(({ section }, i) => comment(["vservers", i], section));
  parts.pools.forEach(({ section }, i) => comment(["pools", i], section));
  const others = [...notes.filter((note) => !used.has(note)), ...keepalivedNotes].filter(
    ({ kind }) => kind === "left-out",
  );
  document.commentBefore = headText(file, draft.missing, others);
  flow(document.contents);
  return document.toString({ lineWidth: 0, flowCollectionPadding: true });
}

const isOf = ({ line }: Note, { line: first, lines }: Section): boolean =>
  line === first.number || lines.some(({ number }) => number === line);

const shortText = (note: Note): string => noteText(note).replace(/^[^:]*:(\d+): /, "line $1: ");

function headText(file: string, missing: readonly string[], others: readonly Note[]): string {
  const lines = [
    `Made of ${file} by 'dlba import'. Look through it, then: dlba check FILE, dlba rehearse FILE.`,
  ];
  lines.push(`The array key: head -c 32 /dev/urandom | base64 > ${KEY_FILE}, the same on every node.`);
  for (const what of missing) lines.push(`FILL IN ${what}.`);
  if (others.length > 0) lines.push("Left out:", ...others.map((note) => `  ${noteText(note)}`));
  return lines.map((line) => ` ${line}`).join("\n");
}

function before(node: unknown, lines: readonly string[]): void {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- nodes of the document that was made above
  (node as Node & Scalar).commentBefore = lines.map((line) => ` ${line}`).join("\n");
}

/** Lists of plain values, and small mappings inside of lists, stand on one line. */
const ON_ONE_LINE = new Set([
  "servers",
  "nodes",
  "certificates",
  "when",
  "set",
  "add",
  "vips",
  "ports",
  "statuses",
]);

function flow(node: unknown): void {
  if (!isMap<Scalar<string>, YAMLMap>(node)) return;
  for (const { key, value } of node.items) {
    if (isSeq<YAMLMap>(value)) {
      const isPlain = value.items.every((item) => !isMap(item) && !isSeq(item));
      if (isPlain) value.flow = true;
      for (const item of value.items) {
        if (isMap(item) && ON_ONE_LINE.has(key.value)) item.flow = true;
        else flow(item);
      }
    } else if (isMap(value)) {
      if (["deny", "redirect", "rewrite"].includes(key.value)) value.flow = true;
      else flow(value);
    }
  }
}
