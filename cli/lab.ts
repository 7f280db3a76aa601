/** `dlba lab`: a whole array in network namespaces on this machine. */
import { type Command, InvalidArgumentError, Option } from "commander";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { constants } from "node:os";
import { DlbaError } from "../conf/errors.ts";
import type { LabState, LabStatus } from "../lab/state.ts";

interface UpOptions {
  readonly name: string;
  readonly config?: string;
  readonly nodes?: number;
  readonly web?: number;
  readonly far?: number;
  readonly clients?: number;
  readonly idle?: readonly number[];
}
interface LabName {
  readonly name: string;
}

const lab = async (): Promise<typeof import("../lab/lab.ts")> => import("../lab/lab.ts");
const operator = async (): Promise<typeof import("../lab/scheduler.ts")> => import("../lab/scheduler.ts");
const cuts = async (): Promise<typeof import("../lab/cuts.ts")> => import("../lab/cuts.ts");

/** Adds `lab` and its commands to the command line. */
export function registerLab(program: Command): void {
  const group = program
    .command("lab")
    .description("a whole array in network namespaces on this machine (needs root)");
  registerUp(group);
  withName(group.command("down").description("take the lab away, whatever is left of it")).action(down);
  withName(group.command("status").description("hosts, addresses, files, processes"))
    .option("--json", "as one JSON object")
    .action(status);
  withName(group.command("exec").description("run a program on a host: client, node1…, web1…"))
    .argument("<host>")
    .argument("<command...>", "the program and its arguments, after --")
    .action(exec);
  registerCuts(group);
  withName(group.command("handover").description("have another node schedule: this one, or the best"))
    .argument("[node]")
    .action(async (node: string | undefined, { name }: LabName) =>
      console.log((await (await operator()).labHandover(name, node)).trimEnd()),
    );
  for (const { verb, what, act } of DEEDS) {
    withName(group.command(verb).description(what))
      .argument("<host>")
      .action(async (host: string, { name }: LabName) => console.log(await act(name, host)));
  }
}

function registerCuts(group: Command): void {
  withName(
    group.command("partition").description("cut the switches into sides; hosts not named see all of them"),
  )
    .argument("<sides...>", "each side's hosts, such as node1,client node2,node3", hostLists)
    .action(async (sides: string[][], { name }: LabName) => (await cuts()).labPartition(name, sides));
  withName(group.command("block").description("block the way from hosts to others, but not the way back"))
    .argument("<from>", "hosts, such as node1,node2", hostList)
    .argument("<to>", "hosts", hostList)
    .action(async (from: string[], to: string[], { name }: LabName) =>
      (await cuts()).labBlock(name, from, to),
    );
  withName(group.command("join").description("take away all partitions and blocks")).action(
    async ({ name }: LabName) => (await cuts()).labHealPartition(name),
  );
}

const hostList = (text: string): string[] => text.split(",");
const hostLists = (text: string, before: string[][] = []): string[][] => [...before, hostList(text)];

const withName = (command: Command): Command => command.option("--name <name>", "the lab's name", "lab");

function registerUp(group: Command): void {
  withName(group.command("up").description("bring a lab up: client, switch, nodes, web servers"))
    .option("--config <file>", "an array's own configuration instead of the lab's")
    .option("--nodes <count>", "number of nodes (default: 3)", counted(64))
    .option("--web <count>", "number of web servers (default: 3)", counted(250))
    .addOption(
      new Option("--far [mtu]", "with a far client behind a router, on a link with this MTU")
        .preset("1400")
        .argParser(counted(1500)),
    )
    .option("--clients <count>", "number of clients on the segment (default: 1)", counted(32))
    .option("--idle <numbers>", "nodes that are not started at first, such as 3,4", nodeNumbers)
    .action(up);
}

function nodeNumbers(text: string): number[] {
  if (!/^\d+(,\d+)*$/.test(text)) throw new InvalidArgumentError("expected node numbers such as 3,4");
  return text.split(",").map(Number);
}

function counted(most: number): (text: string) => number {
  return (text) => {
    const count = Number(text);
    if (Number.isInteger(count) && count >= 1 && count <= most) return count;
    throw new InvalidArgumentError(`expected a number from 1 to ${most}`);
  };
}

const DEEDS: readonly {
  readonly verb: string;
  readonly what: string;
  readonly act: (name: string, host: string) => Promise<string>;
}[] = [
  {
    verb: "kill",
    what: "kill -9 all processes of a host",
    act: async (name, host) => `${host}: ${await (await lab()).labKill(name, host)} processes killed`,
  },
  {
    verb: "cut",
    what: "take a host's cable out of the switch",
    act: async (name, host) => {
      await (await lab()).labCut(name, host);
      return `${host}: cut`;
    },
  },
  {
    verb: "heal",
    what: "put the cable back, start again what was killed",
    act: async (name, host) => {
      await (await lab()).labHeal(name, host);
      return `${host}: healed`;
    },
  },
  {
    verb: "stop",
    what: "SIGSTOP all processes of a host",
    act: async (name, host) => `${host}: ${(await lab()).labSignal(name, host, "SIGSTOP")} processes stopped`,
  },
  {
    verb: "cont",
    what: "SIGCONT all processes of a host",
    act: async (name, host) =>
      `${host}: ${(await lab()).labSignal(name, host, "SIGCONT")} processes continued`,
  },
  {
    verb: "start",
    what: "start a node that was left idle or was shut down",
    act: async (name, host) => {
      await (await lab()).labStartNode(name, host);
      return `${host}: runs`;
    },
  },
  {
    verb: "shutdown",
    what: "end a node's dlba run in order; its data plane stays",
    act: async (name, host) =>
      (await (await lab()).labStopNode(name, host)) ? `${host}: ended` : `${host}: did not run`,
  },
  {
    verb: "drain",
    what: "let a node finish what it has and give it nothing new",
    act: async (name, host) => (await (await operator()).labDrain(name, host, false)).trimEnd(),
  },
  {
    verb: "undrain",
    what: "let a drained node have traffic again",
    act: async (name, host) => (await (await operator()).labUndrain(name, host)).trimEnd(),
  },
  {
    verb: "wipe",
    what: "remove what a node that does not run left in its kernel, as a restart of the machine would",
    act: async (name, host) => {
      await (await lab()).labWipeNode(name, host);
      return `${host}: wiped`;
    },
  },
];

async function up(options: UpOptions): Promise<void> {
  if (options.config !== undefined && (options.nodes !== undefined || options.web !== undefined)) {
    throw new DlbaError("USAGE", "--config tells the nodes and web servers: leave --nodes and --web out");
  }
  const { labUp } = await import("../lab/up.ts");
  const { downOnInterrupt } = await import("../lab/interrupt.ts");
  const started_ms = performance.now();
  const keep = downOnInterrupt(options.name);
  const { wasUp, state } = await labUp({
    name: options.name,
    ...(options.config === undefined ? {} : { configFile: options.config }),
    ...(options.nodes === undefined ? {} : { nodes: options.nodes }),
    ...(options.web === undefined ? {} : { webs: options.web }),
    ...(options.clients === undefined ? {} : { clients: options.clients }),
    ...(options.far === undefined ? {} : { farMtu_bytes: options.far }),
    ...(options.idle === undefined ? {} : { idleNodes: options.idle }),
  });
  keep();
  const took = `in ${((performance.now() - started_ms) / 1000).toFixed(1)} s`;
  console.log(`The lab "${state.name}" is ${wasUp ? "up already" : `up ${took}`}.`);
  for (const change of state.changes) console.log(`Note: ${change}.`);
  console.log(overview(state, await scheduler(options.name)));
}

/** For people: who schedules, or that nobody does. */
async function scheduler(name: string): Promise<string> {
  return (await (await operator()).labScheduler(name)) ?? "none";
}

function overview(state: LabState, scheduler: string): string {
  const name = state.name === "lab" ? "" : ` --name ${state.name}`;
  const hosts = state.hosts.map((host) => `  ${host.name.padEnd(8)} ${host.addresses.join(" ")}`);
  return [
    ...hosts,
    `  VIPs     ${state.vips.join(" ")}   (scheduler: ${scheduler})`,
    `Try: dlba lab exec${name} client -- curl -i http://${state.vips[0]}/id`,
    `     dlba lab exec${name} client -- curl -i --cacert ${state.ca_file} https://${state.vips[0]}/id`,
  ].join("\n");
}

async function down({ name }: LabName): Promise<void> {
  const wasThere = await (await lab()).labDown(name);
  console.log(wasThere ? `The lab "${name}" is gone.` : `There is no lab "${name}".`);
}

async function status({ name, json }: LabName & { readonly json?: boolean }): Promise<void> {
  const state = await (await lab()).labStatus(name);
  const schedules = await scheduler(name);
  if (json === true) console.log(JSON.stringify({ ...state, scheduler: schedules }, null, 2));
  else console.log(statusText(state, schedules));
}

function statusText(state: LabStatus, scheduler: string): string {
  const hosts = state.hosts.map(({ name, mac, addresses, processes, is_cut: isCut }) => {
    const stopped = processes.filter(({ is_stopped: isStopped }) => isStopped).length;
    const marks = `${isCut ? ", cut" : ""}${stopped > 0 ? `, ${stopped} stopped` : ""}`;
    return `  ${name.padEnd(8)} ${mac}  ${addresses.join(" ").padEnd(32)} ${processes.length} processes${marks}`;
  });
  return [
    `Lab "${state.name}": ${state.state}, scheduler ${scheduler}`,
    ...hosts,
    `  VIPs           ${state.vips.join(" ")}`,
    `  configuration  ${state.config_file}`,
    `  CA             ${state.ca_file}`,
    `  web files      ${state.web_root}`,
  ].join("\n");
}

async function exec(host: string, argv: readonly string[], { name }: LabName): Promise<void> {
  const [program = "", ...args] = (await lab()).labArgv(name, host, argv);
  const child = spawn(program, args, { stdio: "inherit" });
  const signals = ["SIGINT", "SIGTERM"] as const;
  for (const signal of signals) process.on(signal, () => child.kill(signal));
  await once(child, "close");
  process.exitCode = child.exitCode ?? 128 + constants.signals[child.signalCode ?? "SIGKILL"];
}
