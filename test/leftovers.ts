/** Finds what tests left behind: network namespaces, pinned BPF objects, lab files and processes of ours. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

const ROOT = join(import.meta.dirname, "..");
const OURS = /^dlba/;
/** Where the names of what the lab and the daemons make on a machine can be read. */
const PLACES = ["/run/netns", "/sys/fs/bpf", "/run/dlba-lab", "/sys/fs/bpf/dlba"] as const;
const DAEMONS = ["cli", "scheduler", "failover", "dlba-server", "status", "lab"].map((folder) =>
  join(ROOT, folder),
);

function names(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}

/** Processes run by an entry of this very clone, or in a lab's directory (its web servers). */
function processTraces(): string[] {
  return names("/proc")
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .flatMap((pid) => {
      const args = commandLine(pid);
      const isOurs = args.some(
        (arg) => arg.includes("/run/dlba-lab/") || DAEMONS.some((folder) => arg.startsWith(`${folder}/`)),
      );
      return isOurs ? [`process ${pid}: ${args.join(" ").trim()}`] : [];
    });
}

function commandLine(pid: string): string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "latin1").split("\0");
  } catch {
    return []; // It ended meanwhile.
  }
}

/** Everything of ours that is on the machine now, as lines for people. */
export function traces(): Set<string> {
  const files = PLACES.flatMap((place) =>
    names(place)
      .filter((name) => place.includes("dlba") || OURS.test(name))
      .map((name) => join(place, name)),
  );
  return new Set([...files, ...processTraces()]);
}

/** What is there now and was not before. */
export function leftoversSince(before: ReadonlySet<string>): string[] {
  return [...traces()].filter((trace) => !before.has(trace));
}
