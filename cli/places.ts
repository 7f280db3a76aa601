/** Where a node keeps what it needs, if nobody says otherwise. */
import { join } from "node:path";

export const DEFAULT_CONFIG_FILE = "/etc/dlba/dlba.yaml";
export const DEFAULT_KEY_FILE = "/etc/dlba/array.key";
export const DEFAULT_PIN_DIR = "/sys/fs/bpf/dlba";
export const DEFAULT_RUN_DIR = "/run/dlba";
/** On a disk: it outlasts a restart of the machine. */
export const DEFAULT_STATE_DIR = "/var/lib/dlba";

/** Where a node's supervisor is told what to do. */
export const supervisorSocket = (runDir: string): string => join(runDir, "supervisor.sock");
/** Which process leads it. */
export const supervisorRecord = (runDir: string): string => join(runDir, "supervisor.json");
