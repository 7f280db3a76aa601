/**
 * A request's path in the one form that rules compare: percent-decoded, without empty, "." and ".." segments. Whatever
 * can be read in another way by some web server is told apart, so that no other spelling gets past a rule. Pure.
 */

/** A path in its two forms. */
export interface NormalPath {
  /** What is compared; char codes are bytes. */
  readonly decoded: string;
  /** How each byte of it is spelled in a request: as it came, but for letters and the like that needn't be encoded. */
  readonly spelling: readonly string[];
}

/** What no normal path has: escapes, empty and dot segments, and bytes that some take for separators. */
const UNUSUAL = /%|\\|\/\/|\/\.{1,2}(?:[/;]|$)/;
const UNRESERVED = /[A-Za-z0-9._~-]/;

/** One byte of a path, and how it is spelled. */
interface Step {
  readonly byte: string;
  readonly spelled: string;
}

/** The bytes of a path; undefined for broken escapes and for NUL, where many stop reading. */
function stepsOf(path: string): Step[] | undefined {
  const steps: Step[] = [];
  for (let at = 0; at < path.length; at++) {
    const char = path[at]!;
    if (char !== "%") {
      steps.push({ byte: char, spelled: char });
      continue;
    }
    const digits = path.slice(at + 1, at + 3);
    if (!/^[0-9A-Fa-f]{2}$/.test(digits) || digits === "00") return undefined;
    const byte = String.fromCharCode(Number.parseInt(digits, 16));
    steps.push({ byte, spelled: UNRESERVED.test(byte) ? byte : `%${digits.toUpperCase()}` });
    at += 2;
  }
  return steps;
}

/** How web servers differ in reading a path. */
interface Reading {
  /** Whether what separates segments is this step. */
  readonly isSeparator: (step: Step) => boolean;
  /** Whether empty segments are dropped before dot segments are, or after. */
  readonly mergesFirst: boolean;
  /** Whether ";" and what follows is no part of a dot segment. */
  readonly hasParameters: boolean;
}
const isSlash = ({ byte }: Step): boolean => byte === "/";
const USUAL: Reading = { isSeparator: isSlash, mergesFirst: true, hasParameters: false };
const OTHERS: readonly Reading[] = [
  { ...USUAL, mergesFirst: false },
  { ...USUAL, hasParameters: true },
  { ...USUAL, isSeparator: ({ spelled }) => spelled === "/" },
  { ...USUAL, isSeparator: ({ byte }) => byte === "/" || byte === "\\" },
];

/** A separator and the segment after it. */
type Segment = readonly Step[];

function segmentsOf(steps: readonly Step[], { isSeparator }: Reading): Segment[] {
  const segments: Step[][] = [];
  for (const step of steps) {
    if (isSeparator(step)) segments.push([step]);
    else segments.at(-1)?.push(step);
  }
  return segments;
}

function dotsOf(segment: Segment, { hasParameters }: Reading): "" | "." | ".." {
  let text = segment
    .slice(1, 4)
    .map(({ byte }) => byte)
    .join("");
  if (hasParameters && text.includes(";")) text = text.slice(0, text.indexOf(";"));
  return text === "." || text === ".." ? text : "";
}

/** The segments that are left (RFC 3986 5.2.4); a path that ends with a dot segment ends with a slash. */
function read(steps: readonly Step[], reading: Reading): Segment[] {
  const kept: Segment[] = [];
  const segments = segmentsOf(steps, reading);
  segments.forEach((segment, index) => {
    const isLast = index === segments.length - 1;
    const dots = dotsOf(segment, reading);
    if (dots === ".." && kept.length > 0) kept.pop();
    if (dots !== "") {
      if (isLast) kept.push(segment.slice(0, 1));
    } else if (segment.length > 1 || isLast || !reading.mergesFirst) kept.push(segment);
  });
  return kept;
}

const textOf = (segments: readonly Segment[]): string =>
  segments.map((segment) => segment.map(({ byte }) => byte).join("")).join("");

/** Texts that differ in slashes alone are the same here. */
const comparable = (text: string): string => text.replaceAll("\\", "/").replace(/\/{2,}/g, "/");

/**
 * The normal form of a path that begins with "/"; undefined when web servers could read it in different ways: broken escapes,
 * NUL, and dot segments beside encoded slashes, backslashes, empty segments or parameters.
 */
export function normalPath(path: string): NormalPath | undefined {
  if (!UNUSUAL.test(path)) return { decoded: path, spelling: path.split("") };
  const steps = stepsOf(path);
  if (steps === undefined) return undefined;
  const segments = read(steps, USUAL);
  const decoded = textOf(segments);
  const compared = comparable(decoded);
  if (OTHERS.some((reading) => comparable(textOf(read(steps, reading))) !== compared)) return undefined;
  const spelling = segments.flatMap((segment) => segment.map(({ spelled }) => spelled));
  // The first slash can't be an encoded one, even if the one that came is gone as an empty segment's.
  spelling[0] = "/";
  return { decoded, spelling };
}

/** The form that is compared, alone: most paths are in it already, and cost one look. */
export function comparedPath(path: string): string | undefined {
  return UNUSUAL.test(path) ? normalPath(path)?.decoded : path;
}
