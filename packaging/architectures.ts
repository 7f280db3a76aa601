/** The machines that packages are built for, by their several names. */
import { DlbaError } from "../conf/errors.ts";

export interface Architecture {
  /** Node's name, as in `process.arch`. */
  readonly node: "x64" | "arm64";
  /** Debian's name. */
  readonly debian: "amd64" | "arm64";
}

export const ARCHITECTURES: readonly Architecture[] = [
  { node: "x64", debian: "amd64" },
  { node: "arm64", debian: "arm64" },
];

/** Throws DlbaError DIST_FAILED when there is none of that name. */
export function architectureOf(name: string): Architecture {
  const found = ARCHITECTURES.find(({ node, debian }) => name === node || name === debian);
  if (found !== undefined) return found;
  const known = ARCHITECTURES.map(({ debian }) => debian).join(" and ");
  throw new DlbaError("DIST_FAILED", `no package can be built for "${name}", only for ${known}`);
}

/** The one that this process runs on. */
export const ownArchitecture = (): Architecture => architectureOf(process.arch);
