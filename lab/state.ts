/** What a lab is, as its state file holds it: enough for any script to drive it. */
import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { DlbaError } from "../conf/errors.ts";
import type { ProcessIdentity } from "../net/process-identity.ts";
import type { CertificateFiles } from "./adapt-config.ts";
import type { LabPlaces } from "./places.ts";
import type { PlannedHost } from "./planned-host.ts";
import type { HostProcess } from "./processes.ts";
import type { StandIn } from "./rehearsal/stand-ins.ts";
import type { WebFile } from "./web-files.ts";

/** What was asked for; a lab that is up is only the right one when this is the same. */
export interface LabRequest {
  /** The operator's configuration file, or null for the default lab. */
  readonly config_file: string | null;
  readonly nodes: number;
  readonly webs: number;
  readonly clients: number;
  /** The MTU of a far client's link; null without one. */
  readonly far_mtu_bytes: number | null;
  /** Numbers of the nodes that are not started at first. */
  readonly idle_nodes: readonly number[];
  /** Whether web servers are stand-ins (rehearsal/stand-in.ts) instead of nginx with files. */
  readonly has_stand_ins: boolean;
}

export interface LabHost extends PlannedHost {
  readonly namespace: string;
  readonly run_dir: string;
  /** Null but for nodes. */
  readonly pin_dir: string | null;
  readonly log_file: string;
  /** What the lab's own small service on it says. */
  readonly service_log_file: string;
}

export interface LabVserver {
  readonly name: string;
  readonly protocol: string;
  readonly vips: readonly string[];
  readonly ports: readonly number[];
  readonly pool: string | null;
  /** Those where connections of the client have to begin with a PROXY header. */
  readonly proxied_vips: readonly string[];
}

export interface LabState {
  readonly name: string;
  readonly state: "starting" | "up";
  /** The process that brings or brought it up. */
  readonly starter: ProcessIdentity;
  readonly request: LabRequest;
  /** The configuration that its nodes run. */
  readonly config_file: string;
  /** Certificate authority to trust, for `curl --cacert`. */
  readonly ca_file: string;
  readonly server_names: readonly string[];
  readonly web_root: string;
  readonly web_files: readonly WebFile[];
  readonly vips: readonly string[];
  readonly vservers: readonly LabVserver[];
  /** Null without stand-ins. */
  readonly stand_ins: readonly StandIn[] | null;
  /** What the stand-ins show that speak TLS. */
  readonly web_certificate: CertificateFiles | null;
  /** The switches, by the ends of their namespaces' names. */
  readonly segments: readonly string[];
  readonly hosts: readonly LabHost[];
  /** What differs from the operator's file. */
  readonly changes: readonly string[];
}

/** The state with what is so now. */
export interface LabStatus extends Omit<LabState, "hosts"> {
  readonly hosts: readonly (LabHost & {
    readonly processes: readonly HostProcess[];
    readonly is_cut: boolean;
  })[];
}

/** Undefined when there is no such lab, or its state file is unusable (its maker was killed while writing). */
export function readState({ stateFile }: LabPlaces): LabState | undefined {
  if (!existsSync(stateFile)) return undefined;
  try {
    const state: LabState = JSON.parse(readFileSync(stateFile, "utf8"));
    return state;
  } catch {
    return undefined;
  }
}

/** The state of a lab that is up. Throws DlbaError LAB_NOT_UP. */
export function stateOf(places: LabPlaces): LabState {
  const state = readState(places);
  if (state?.state === "up") return state;
  throw new DlbaError("LAB_NOT_UP", `the lab "${places.name}" is not up`, {
    hint: `bring it up with: dlba lab up --name ${places.name}`,
  });
}

/** Written aside and renamed, so that nobody reads half a file. */
export function writeState({ stateFile }: LabPlaces, state: LabState): void {
  writeFileSync(`${stateFile}.new`, `${JSON.stringify(state, null, 2)}\n`);
  renameSync(`${stateFile}.new`, stateFile);
}
