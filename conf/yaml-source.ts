/**
 * The YAML text as plain values, with the place of each. Aliases are written out here and not by the library:
 * this takes time in proportion to the text, bounds what they grow to, and knows where each one stands.
 */
import {
  isAlias,
  isMap,
  isScalar,
  isSeq,
  Lexer,
  parseDocument,
  type Alias,
  type Document,
  type Node,
  type Pair,
  type YAMLError,
} from "yaml";
import type { ConfigPath } from "./config-error.ts";
import { MAX_CONFIG_VALUES } from "./limits.ts";

/** A fault of the text itself; `offset` counts UTF-16 units from 0. */
export interface YamlFault {
  readonly offset: number;
  readonly message: string;
  readonly hint: string;
}

export interface Position {
  readonly line: number;
  readonly column: number;
}

export interface YamlSource {
  /** Null for an empty file. */
  readonly value: unknown;
  readonly faults: readonly YamlFault[];
  /** Position of the value at a path, or of its key; of the nearest thing around it when there is none. */
  readonly locate: (path: ConfigPath, isAtKey: boolean) => Position;
  readonly positionOf: (offset: number) => Position;
  /** The text of a scalar as it stands in the file; undefined for anything else. */
  readonly sourceText: (path: ConfigPath) => string | undefined;
}

const TOO_DEEP: YamlFault = { offset: 0, message: "values are nested too deeply", hint: "use fewer levels" };

/** Reads one YAML 1.2 document. `value` only means something when there are no faults. */
export function readYaml(text: string): YamlSource {
  const positionOf = positionsIn(text);
  const nowhere = { positionOf, locate: () => positionOf(0), sourceText: () => undefined };
  try {
    const document = parse(text);
    const faults = syntaxFaults(document, text);
    if (faults.length > 0) return { ...nowhere, value: null, faults };
    return readDocument(document, text, positionOf);
  } catch (error) {
    // The library and the walk below descend into nested values by recursion.
    if (!(error instanceof RangeError)) throw error;
    return { ...nowhere, value: null, faults: [TOO_DEEP] };
  }
}

/** Lines and columns by offset. (The library's own counter loses lines after some syntax errors.) */
function positionsIn(text: string): (offset: number) => Position {
  const starts = [0];
  for (let i = text.indexOf("\n"); i >= 0; i = text.indexOf("\n", i + 1)) starts.push(i + 1);
  return (offset) => {
    const at = Math.min(offset, text.length);
    let low = 0;
    let high = starts.length;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (starts[middle]! <= at) low = middle;
      else high = middle;
    }
    return { line: low + 1, column: at - starts[low]! + 1 };
  };
}

function parse(text: string): Document.Parsed {
  return parseDocument(text, {
    prettyErrors: false,
    stringKeys: true,
    // Found in the walk below in linear time; the library compares each key with every other.
    uniqueKeys: false,
    schema: "core",
    merge: false,
    resolveKnownTags: false,
    logLevel: "error",
  });
}

const SYNTAX_HINTS: Readonly<Record<string, string>> = {
  BAD_INDENT: "indent all keys of one mapping by the same number of spaces",
  TAB_AS_INDENT: "indent with spaces, not with tabs",
  MISSING_CHAR: "close the quote or bracket, or put the missing character",
  MULTIPLE_DOCS: "remove the '---' line and what does not belong: one file holds one configuration",
  BLOCK_AS_IMPLICIT_KEY: "put the value on a line of its own, or in quotes",
  MULTILINE_IMPLICIT_KEY: "write each 'key: value' on one line",
  BAD_SCALAR_START: "put the value in quotes",
  NON_STRING_KEY: "use a plain name as the key",
  TAG_RESOLVE_FAILED: "remove the tag: tags ('!…') are not used here",
  BAD_ALIAS: "name an anchor ('&…') after the '*', or put the value in quotes",
};

function syntaxFaults(document: Document.Parsed, text: string): YamlFault[] {
  const found: YAMLError[] = [...document.errors, ...document.warnings];
  if (found.some(({ message }) => message.includes("call stack size"))) return [TOO_DEEP];
  // Once the parser has lost the structure it complains about every token that follows; the first one counts.
  const lost = found.find(isLost);
  const told = found.filter((error) => error === lost || !isLost(error));
  return told.map((error) => ({
    offset: isUnclosedQuote(error) ? openedAt(text, error.pos[0]) : error.pos[0],
    message: syntaxMessage(error),
    hint: syntaxHint(error),
  }));
}

function syntaxHint({ code, message }: YAMLError): string {
  if (message.startsWith("Sequence item without")) return SYNTAX_HINTS["BAD_INDENT"]!;
  if (code === "BAD_INDENT" && message.startsWith("Flow")) return SYNTAX_HINTS["MISSING_CHAR"]!;
  return SYNTAX_HINTS[code] ?? "write valid YAML 1.2 here";
}

const isUnclosedQuote = ({ code, message }: YAMLError): boolean =>
  code === "MISSING_CHAR" && message.includes("closing");

/** Where the quote was opened that nothing closes: the library tells where it has looked in vain to. */
function openedAt(text: string, end: number): number {
  const unclosed = [...new Lexer().lex(text)].findLast((lexeme) => /^["']/.test(lexeme));
  const start = unclosed === undefined ? -1 : text.lastIndexOf(unclosed, end);
  return start === -1 ? end : start;
}

function isLost(error: YAMLError): boolean {
  return error.code === "UNEXPECTED_TOKEN" && error.message.includes("in YAML stream");
}

function syntaxMessage(error: YAMLError): string {
  if (error.code === "MULTIPLE_DOCS") return "not valid YAML here: a second document begins";
  const text = error.message.replaceAll(/\s+/g, " ").replace(/ ["']quote$/, " quote");
  return `not valid YAML: ${text.charAt(0).toLowerCase()}${text.slice(1)}`;
}

type Positions = (offset: number) => Position;

function readDocument(document: Document.Parsed, text: string, positionOf: Positions): YamlSource {
  const walk: Walk = { anchors: new Map(), targets: new Map(), values: 0, faults: [] };
  const root = document.contents;
  const { value } = readNode(walk, root);
  return {
    value,
    faults: walk.faults,
    positionOf,
    locate: (path, isAtKey) => positionOf(locate(root, walk.targets, path, isAtKey)),
    sourceText: (path) => {
      const node = follow(root, walk.targets, path).node;
      return isScalar(node) && node.range ? text.slice(node.range[0], node.range[1]) : undefined;
    },
  };
}

/** A value and how many values it holds, itself counted. */
interface Read {
  readonly value: unknown;
  readonly size: number;
}

interface Walk {
  readonly anchors: Map<string, { node: Node; read: Read | undefined }>;
  /** What each alias stands for. */
  readonly targets: Map<Alias, Node>;
  /** Values so far, with aliases written out. */
  values: number;
  readonly faults: YamlFault[];
}

const NOTHING: Read = { value: null, size: 1 };

function readNode(walk: Walk, node: Node | null): Read {
  if (node === null) return NOTHING;
  if (isAlias(node)) return readAlias(walk, node);
  const before = walk.values++;
  const anchored = { node, read: undefined as Read | undefined };
  if ("anchor" in node && typeof node.anchor === "string") walk.anchors.set(node.anchor, anchored);
  // A tag that the library knows, such as !!int, is no error to it.
  if ("tag" in node && typeof node.tag === "string") {
    const message = `not valid YAML here: the tag '${node.tag.replace("tag:yaml.org,2002:", "!!")}'`;
    walk.faults.push({ offset: offsetOf(node), message, hint: SYNTAX_HINTS["TAG_RESOLVE_FAILED"]! });
  }
  const value = readValue(walk, node);
  anchored.read = { value, size: walk.values - before };
  return anchored.read;
}

function readValue(walk: Walk, node: Node): unknown {
  if (isSeq<Node>(node)) return node.items.map((item) => readNode(walk, item).value);
  if (isMap<Node, Node | null>(node)) return readMap(walk, node.items);
  return isScalar(node) ? node.value : null;
}

function readMap(walk: Walk, pairs: readonly Pair<Node, Node | null>[]): Record<string, unknown> {
  const record: Record<string, unknown> = {};
  for (const { key: keyNode, value: valueNode } of pairs) {
    const key = keyOf(keyNode);
    if (Object.hasOwn(record, key)) {
      walk.faults.push({
        offset: offsetOf(keyNode),
        message: `key '${key}' stands twice in the same mapping`,
        hint: "keep one of the two",
      });
    }
    const { value } = readNode(walk, valueNode);
    // Not an assignment: '__proto__' must become a key like any other.
    Object.defineProperty(record, key, { value, enumerable: true, writable: true, configurable: true });
  }
  return record;
}

function readAlias(walk: Walk, alias: Alias): Read {
  const target = walk.anchors.get(alias.source);
  const offset = offsetOf(alias);
  if (target?.read === undefined) {
    const message =
      target === undefined
        ? `alias '*${alias.source}' has no anchor before it`
        : `alias '*${alias.source}' stands inside of what it stands for`;
    walk.faults.push({ offset, message, hint: `put '&${alias.source}' at the value that is meant` });
    return NOTHING;
  }
  walk.targets.set(alias, target.node);
  const hadRoom = walk.values <= MAX_CONFIG_VALUES;
  walk.values += target.read.size;
  if (walk.values <= MAX_CONFIG_VALUES) return target.read;
  if (hadRoom) {
    walk.faults.push({
      offset,
      message: `aliases make this file larger than ${MAX_CONFIG_VALUES} values`,
      hint: "write out what is meant instead of nesting aliases",
    });
  }
  return NOTHING;
}

function keyOf(node: Node | null): string {
  return isScalar(node) ? String(node.value) : "";
}

function offsetOf(node: Node | null | undefined): number {
  return node?.range?.[0] ?? 0;
}

interface Followed {
  /** The value at the path; undefined when the path leads to nothing. */
  readonly node: Node | null | undefined;
  /** The key in front of it. */
  readonly key: Node | undefined;
  /** The last value on the way that exists. */
  readonly around: Node | null;
}

function follow(root: Node | null, targets: Walk["targets"], path: ConfigPath): Followed {
  let node: Node | null | undefined = root;
  let key: Node | undefined;
  let around = root;
  for (const step of path) {
    key = undefined;
    if (isAlias(node)) node = targets.get(node);
    if (isSeq<Node>(node)) node = node.items[Number(step)];
    else if (isMap<Node, Node | null>(node)) {
      const pair: Pair<Node, Node | null> | undefined = node.items.find(({ key }) => keyOf(key) === step);
      key = pair?.key;
      node = pair?.value;
    } else node = undefined;
    if (node === undefined && key === undefined) return { node, key, around };
    around = node ?? key ?? around;
  }
  return { node, key, around };
}

function locate(root: Node | null, targets: Walk["targets"], path: ConfigPath, isAtKey: boolean): number {
  const { node, key, around } = follow(root, targets, path);
  const isEmpty = isScalar(node) && node.range !== undefined && node.range?.[0] === node.range?.[1];
  if (key !== undefined && (isAtKey || isEmpty)) return offsetOf(key);
  return offsetOf(node ?? key ?? around);
}
