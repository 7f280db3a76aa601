/** Where a lab keeps its things, and what it calls them: all from its name. */
import { join } from "node:path";
import { DlbaError } from "../conf/errors.ts";

const LABS_DIR = "/run/dlba-lab";
export const NETNS_DIR = "/run/netns";
export const BPF_FS = "/sys/fs/bpf";

export interface LabPlaces {
  readonly name: string;
  readonly dir: string;
  readonly stateFile: string;
  readonly webRoot: string;
  readonly pinDir: string;
  /** Every namespace of the lab starts with this, and no other lab's does. */
  readonly namespacePrefix: string;
}

/** Throws DlbaError LAB_NAME_INVALID. The name has no hyphen, so no lab's prefix is part of another's. */
export function labPlaces(name: string): LabPlaces {
  if (!/^[a-z0-9]{1,24}$/.test(name)) {
    throw new DlbaError("LAB_NAME_INVALID", `"${name}" can't name a lab`, {
      hint: "use 1 to 24 lower-case letters and digits",
    });
  }
  const dir = join(LABS_DIR, name);
  return {
    name,
    dir,
    stateFile: join(dir, "state.json"),
    webRoot: join(dir, "www"),
    pinDir: join(BPF_FS, `dlba-lab-${name}`),
    namespacePrefix: `dlba-${name}-`,
  };
}
