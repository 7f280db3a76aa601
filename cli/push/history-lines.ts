/** What `dlba history` prints. Pure. */
import type { Peer, VersionRecord } from "./messages.ts";
import type { States } from "./proposer.ts";

export interface NodeLine {
  readonly node: string;
  /** Null for one that does not answer. */
  readonly version: number | null;
  readonly hash: string;
  readonly running: number | null;
  readonly vote_in_doubt: number | null;
  /** Why it does not run it, or does not answer; else empty. */
  readonly problem: string;
}

export const nodeLines = (peers: readonly Peer[], { states, away }: States): NodeLine[] =>
  peers.map(({ name }) => {
    const state = states.find(({ peer }) => peer.name === name)?.state;
    if (state === undefined) {
      const problem = away.find(({ node }) => node === name)?.text ?? "does not answer";
      return { node: name, version: null, hash: "", running: null, vote_in_doubt: null, problem };
    }
    const { current, running, accepted, problem } = state;
    return {
      node: name,
      version: current.number,
      hash: current.hash,
      running: running.number,
      vote_in_doubt: accepted?.record.number ?? null,
      problem,
    };
  });

const SHORT_HASH = 12;

/** Two tables: versions, the newest first, and nodes. */
export function historyLines(versions: readonly VersionRecord[], nodes: readonly NodeLine[]): string {
  const versionRows = versions.map(({ number, hash, at_ms, by, comment }) => [
    String(number),
    number === 0 ? "-" : new Date(at_ms).toISOString(),
    hash.slice(0, SHORT_HASH),
    number === 0 ? "-" : by,
    number === 0 ? "the configuration file of before" : comment,
  ]);
  const nodeRows = nodes.map(({ node, version, hash, running, problem, vote_in_doubt }) => [
    node,
    version === null ? "-" : String(version),
    hash.slice(0, SHORT_HASH) || "-",
    running === null ? "-" : String(running),
    [problem, vote_in_doubt === null ? "" : `has voted for version ${vote_in_doubt}, which is not decided`]
      .filter((text) => text !== "")
      .join("; "),
  ]);
  const first =
    versionRows.length === 0
      ? "nothing was ever pushed: each node runs its configuration file\n"
      : table([["Version", "Pushed", "Hash", "By", "Comment"], ...versionRows]);
  return `${first}\n${table([["Node", "In force", "Hash", "Running", "Problem"], ...nodeRows])}`;
}

function table(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]!.map((_, i) => Math.max(...rows.map((row) => row[i]!.length)));
  return rows
    .map(
      (row) =>
        `${row
          .map((cell, i) => cell.padEnd(widths[i]!))
          .join("  ")
          .trimEnd()}\n`,
    )
    .join("");
}
