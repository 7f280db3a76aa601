/** What `dlba doctor` judges: facts of a machine as they were read. Undefined is what could not be found out. */
import type { Config, NodeConfig } from "../../conf/schema.ts";
import type { DlbaError } from "../../conf/errors.ts";

export interface MachineFacts {
  readonly cores: number;
  readonly hasBtf: boolean;
  /** /proc/sys/net/core/bpf_jit_enable */
  readonly bpfJit: number | undefined;
  /** Of the running kernel: `BPF_SYSCALL` → `y`; undefined when there is no configuration file. */
  readonly kernelOptions: ReadonlyMap<string, string> | undefined;
  readonly lockdown: string | undefined;
  readonly isClockInStep: boolean | undefined;
  /** Hard limit of open files. */
  readonly openFiles: number | undefined;
  readonly somaxconn: number | undefined;
  /** First and last local port. */
  readonly localPorts: readonly [first: number, last: number] | undefined;
  /** nf_conntrack_max; undefined when connections are not tracked. */
  readonly conntrackMost: number | undefined;
  readonly isIpv6Off: boolean;
  /** rp_filter of `all`. */
  readonly rpFilterAll: number | undefined;
  /** Whether a node runs with this run directory. */
  readonly isRunning: boolean;
}

export interface InterfaceFacts {
  readonly name: string;
  readonly driver: string | undefined;
  readonly mtu: number | undefined;
  readonly isUp: boolean | undefined;
  readonly queues: number;
  /** Of `ethtool -k`; empty when there is no ethtool. */
  readonly features: ReadonlyMap<string, boolean>;
  readonly rpFilter: number | undefined;
  readonly arpIgnore: number | undefined;
  readonly arpAnnounce: number | undefined;
}

/** A listening TCP socket; an empty address is any. */
export interface ListeningSocket {
  readonly address: string;
  readonly port: number;
}

export interface CertificateState {
  readonly vserver: string;
  readonly file: string;
  readonly keyFile: string;
  /** Unix time, ms. */
  readonly not_after_ms: number | undefined;
  readonly error: string | undefined;
  /** Why the key can't be used with it. */
  readonly keyError: string | undefined;
}

export interface Reached {
  readonly what: string;
  readonly address: string;
  readonly port: number;
  readonly error: string | undefined;
}

/** Facts that only a node's configuration makes askable. */
export interface NodeHostFacts {
  readonly config: Config;
  readonly node: NodeConfig;
  readonly startProblems: readonly DlbaError[];
  readonly interfaces: readonly InterfaceFacts[];
  readonly listening: readonly ListeningSocket[];
  readonly certificates: readonly CertificateState[];
  /** Permissions of the array key's file. */
  readonly keyMode: number | undefined;
  readonly nodes: readonly Reached[];
  readonly webServers: readonly Reached[];
}

export interface DoctorFacts {
  readonly machine: MachineFacts;
  readonly host: NodeHostFacts | undefined;
  readonly now_ms: number;
}
