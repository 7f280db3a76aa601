/** Brings a lab up. */
import { mkdirSync, writeFileSync } from "node:fs";
import { randomBytes } from "node:crypto";
import { join, resolve } from "node:path";
import { cidrContains, parseCidr, parseIp } from "../conf/address.ts";
import { DlbaError } from "../conf/errors.ts";
import { loadConfig, readConfigFile } from "../conf/load.ts";
import { ARRAY_KEY_BYTES } from "../conf/limits.ts";
import type { Config, VserverConfig } from "../conf/schema.ts";
import { command } from "../net/command.ts";
import { isOnBpfFileSystem } from "../net/host.ts";
import { isRunning, processIdentity, type ProcessIdentity } from "../net/process-identity.ts";
import { caFile, certificatePaths, makeAuthority, makeCertificate } from "./certificates.ts";
import { startHost, waitUntilServed } from "./hosts.ts";
import { labDown, requireRoot } from "./lab.ts";
import {
  adaptConfig,
  type CertificateFiles,
  type ConfigPlaces,
  type WantedCertificate,
} from "./adapt-config.ts";
import { DEFAULT_SERVER_NAMES, defaultConfig } from "./lab-config.ts";
import { BPF_FS, labPlaces, type LabPlaces } from "./places.ts";
import { planLab } from "./plan.ts";
import { canonicalIp, hostNamed, type LabPlan, type PlannedHost } from "./planned-host.ts";
import { planStandIns } from "./rehearsal/stand-ins.ts";
import {
  type LabHost,
  type LabRequest,
  type LabState,
  type LabVserver,
  readState,
  writeState,
} from "./state.ts";
import { buildTopology, namespacesOf } from "./topology.ts";
import { writeWebFiles } from "./web-files.ts";

export interface LabOptions {
  readonly name: string;
  /** An operator's own configuration; then `nodes` and `webs` come from it. */
  readonly configFile?: string;
  readonly nodes?: number;
  readonly webs?: number;
  readonly clients?: number;
  /** With a far client behind a router: the MTU of the link between these two. */
  readonly farMtu_bytes?: number;
  /** Numbers of nodes that are not started; `labStartNode` does it later. All: then nothing is served at first. */
  readonly idleNodes?: readonly number[];
  /** Web servers of the operator's configuration are stand-ins that answer everything, over TLS and HTTP/2, too. */
  readonly hasStandIns?: boolean;
}

export interface LabUpResult {
  /** Whether the very lab was up before. */
  readonly wasUp: boolean;
  readonly state: LabState;
}

/**
 * Brings a lab up, after taking away what a crashed one left. Throws DlbaError: NOT_ROOT, LAB_BUSY, LAB_DIFFERS,
 * LAB_FAILED, or what is wrong with the configuration; then nothing of the lab is left.
 */
export async function labUp(options: LabOptions): Promise<LabUpResult> {
  requireRoot();
  const places = labPlaces(options.name);
  const request: LabRequest = {
    config_file: options.configFile === undefined ? null : resolve(options.configFile),
    nodes: options.nodes ?? 3,
    webs: options.webs ?? 3,
    clients: options.clients ?? 1,
    far_mtu_bytes: options.farMtu_bytes ?? null,
    idle_nodes: (options.idleNodes ?? []).toSorted((a, b) => a - b),
    has_stand_ins: options.hasStandIns ?? false,
  };
  const existing = livingLab(places);
  if (existing !== undefined) return { wasUp: true, state: sameLab(existing, request) };
  await labDown(options.name);
  try {
    return { wasUp: false, state: await bringUp(places, request) };
  } catch (error) {
    await labDown(options.name);
    throw error;
  }
}

/** The lab when it is up; undefined when there is none, or only what a crash left. */
function livingLab(places: LabPlaces): LabState | undefined {
  const state = readState(places);
  if (state === undefined) return undefined;
  if (state.state === "starting") {
    if (!isRunning(state.starter)) return undefined;
    throw new DlbaError("LAB_BUSY", `process ${state.starter.pid} is bringing "${places.name}" up`);
  }
  const present = new Set(namespacesOf(places.namespacePrefix));
  return state.hosts.every(({ namespace }) => present.has(namespace)) ? state : undefined;
}

function sameLab(state: LabState, request: LabRequest): LabState {
  if (JSON.stringify(state.request) === JSON.stringify(request)) return state;
  throw new DlbaError("LAB_DIFFERS", `the lab "${state.name}" is up, but not as asked for now`, {
    hint: `take it down first, with: dlba lab down --name ${state.name}`,
  });
}

async function bringUp(places: LabPlaces, request: LabRequest): Promise<LabState> {
  mkdirSync(places.dir, { recursive: true, mode: 0o755 });
  const prepared = prepareConfig(places, request);
  const { configFile, wanted } = prepared;
  const config = loadConfig(configFile);
  const plan = planLab(config, { farMtu_bytes: request.far_mtu_bytes, clients: request.clients });
  checkIdle(config, request.idle_nodes);
  const starting = describeLab(places, request, { ...prepared, config, plan });
  writeState(places, starting);
  await ensureBpfFs(places.pinDir);
  await makeAuthority(places.dir, places.name);
  for (const { index, names } of wanted) {
    await makeCertificate(places.dir, index, [...names, ...plan.vips]);
  }
  await buildTopology(places, plan);
  const idle = new Set(request.idle_nodes.map((number) => `node${number}`));
  const nodes = starting.hosts.filter(({ kind, name }) => kind === "node" && !idle.has(name));
  const others = starting.hosts.filter(({ kind }) => kind !== "node");
  await settleAll(others.map(async (host) => startHost(starting, host)));
  await settleAll(nodes.map(async (host) => startHost(starting, host)));
  if (nodes.length > 0) await waitUntilServed(hostNamed(starting.hosts, "client"), starting.vservers);
  const state: LabState = { ...starting, state: "up" };
  writeState(places, state);
  return state;
}

/** Throws DlbaError LAB_IMPOSSIBLE: what isn't there can't be idle. */
function checkIdle(config: Config, idle: readonly number[]): void {
  const numbers = config.nodes.map(({ number }) => number);
  const wrong = idle.find((number) => !numbers.includes(number));
  if (wrong === undefined) return;
  throw new DlbaError("LAB_IMPOSSIBLE", `node ${wrong} can't be left idle: there is none`, {
    hint: `the nodes are ${numbers.join(", ")}`,
  });
}

/** Waits for all, so that nothing goes on behind a failure; then throws the first one's error. */
async function settleAll(work: readonly Promise<void>[]): Promise<void> {
  for (const result of await Promise.allSettled(work)) {
    if (result.status === "rejected") throw result.reason;
  }
}

interface PreparedConfig {
  readonly configFile: string;
  readonly changes: readonly string[];
  readonly wanted: readonly WantedCertificate[];
  readonly webCertificate: CertificateFiles | null;
}

function prepareConfig(places: LabPlaces, request: LabRequest): PreparedConfig {
  const configFile = join(places.dir, "dlba.yaml");
  const keyFile = join(places.dir, "array.key");
  const configPlaces: ConfigPlaces = {
    keyFile,
    certificateFiles: (index) => certificatePaths(places.dir, index),
    caFile: caFile(places.dir),
    pageFile: join(places.dir, "page.html"),
    accessLogFile: join(places.dir, "access.log"),
  };
  const makeKey = (): void =>
    writeFileSync(keyFile, `${randomBytes(ARRAY_KEY_BYTES).toString("base64")}\n`, { mode: 0o600 });
  if (request.config_file === null) {
    makeKey();
    writeFileSync(configFile, defaultConfig(places.name, request.nodes, request.webs, configPlaces));
    const wanted = DEFAULT_SERVER_NAMES.map((name, index) => ({ index, names: [name] }));
    return { configFile, changes: [], wanted, webCertificate: null };
  }
  const given = loadConfig(request.config_file);
  const text = readConfigFile(request.config_file);
  const adapted = adaptConfig(text, given, configPlaces, request.has_stand_ins);
  if (adapted.needsKey) makeKey();
  if (adapted.needsPage) writeFileSync(configPlaces.pageFile, STAND_IN_PAGE);
  writeFileSync(configFile, adapted.yaml);
  return { ...adapted, configFile };
}

const STAND_IN_PAGE = "<!doctype html><title>Stand-in</title><p>A page of the lab.</p>\n";

interface Described extends PreparedConfig {
  readonly config: Config;
  readonly plan: LabPlan;
}

function describeLab(places: LabPlaces, request: LabRequest, described: Described): LabState {
  const { config, configFile, plan, changes, webCertificate } = described;
  const client = hostNamed(plan.hosts, "client");
  const starter: ProcessIdentity = processIdentity(process.pid) ?? { pid: process.pid, started_ticks: 0 };
  return {
    name: places.name,
    state: "starting",
    starter,
    request,
    config_file: configFile,
    ca_file: caFile(places.dir),
    server_names: request.config_file === null ? DEFAULT_SERVER_NAMES : [],
    web_root: places.webRoot,
    web_files: writeWebFiles(places.webRoot),
    vips: plan.vips,
    vservers: config.vservers.map((vserver) => describeVserver(vserver, client)),
    stand_ins: request.has_stand_ins ? planStandIns(config) : null,
    web_certificate: webCertificate,
    segments: plan.segments,
    hosts: plan.hosts.map((host) => describeHost(places, host)),
    changes,
  };
}

function describeVserver(vserver: VserverConfig, { addresses }: PlannedHost): LabVserver {
  const { name, protocol, vips, ports, pool, proxy_protocol_from: blocks } = vserver;
  const wantsHeader = (vip: string): boolean => {
    const family = canonicalIp(vip).includes(":");
    const from = parseIp(addresses.find((address) => address.includes(":") === family) ?? "");
    return blocks.some((block) => {
      const cidr = parseCidr(block);
      return cidr !== undefined && from !== undefined && cidrContains(cidr, from);
    });
  };
  return { name, protocol, vips, ports, pool: pool ?? null, proxied_vips: vips.filter(wantsHeader) };
}

function describeHost(places: LabPlaces, host: PlannedHost): LabHost {
  const run_dir = join(places.dir, host.name);
  return {
    ...host,
    namespace: places.namespacePrefix + host.name,
    run_dir,
    pin_dir: host.kind === "node" ? join(places.pinDir, host.name) : null,
    log_file: join(run_dir, "log"),
    service_log_file: join(run_dir, "service.log"),
  };
}

/** Debian mounts the BPF file system at start-up; minimal machines don't. */
async function ensureBpfFs(pinDir: string): Promise<void> {
  if (!isOnBpfFileSystem(BPF_FS)) await command("mount", ["-t", "bpf", "bpf", BPF_FS]);
  mkdirSync(pinDir, { recursive: true });
}
