/** A lab whose nodes are machines (machine.ts): its network, its client and its web servers, with nothing of ours on the nodes. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { labDown, labExec } from "../../lab/lab.ts";
import { labUp } from "../../lab/up.ts";
import { ownArchitecture } from "../../packaging/architectures.ts";
import { buildDist } from "../../packaging/dist.ts";
import { bootMachine, type Machine } from "./machine.ts";

export interface PackagedLab {
  /** The folder that machines see as `given` in root's home. */
  readonly given: string;
  readonly machine: (node: string) => Promise<Machine>;
  /** A line of shell on the client; resolves with its standard output. */
  readonly client: (line: string) => Promise<string>;
  readonly down: () => Promise<void>;
}

/** The addresses are those of docs/quick-start.md. */
const CONFIG = {
  array: { name: "shop", key_file: "/etc/dlba/array.key" },
  nodes: [1, 2].map((number) => ({
    number,
    name: `node${number}`,
    address: `192.0.2.1${number}`,
    interface: "eth0",
  })),
  vservers: [{ name: "http", vips: ["192.0.2.10"], ports: [80], protocol: "http", pool: "web" }],
  pools: [
    { name: "web", servers: [1, 2].map((n) => ({ id: `web${n}`, address: `192.0.2.2${n}`, port: 8080 })) },
  ],
};

/** The lab's network; the nodes are booted one by one. */
export async function packagedLab(): Promise<PackagedLab> {
  const name = `p${process.pid}`;
  const dir = mkdtempSync(join(tmpdir(), "dlba-packaged-"));
  const given = join(dir, "given");
  mkdirSync(given);
  const configFile = join(dir, "lab.yaml");
  writeFileSync(configFile, JSON.stringify(CONFIG));
  const machines: Machine[] = [];
  const down = async (): Promise<void> => {
    for (const machine of machines) await machine.off();
    await labDown(name);
    rmSync(dir, { recursive: true, force: true });
  };
  try {
    const { state } = await labUp({ name, configFile, nodes: 2, idleNodes: [1, 2] });
    return {
      given,
      machine: async (node) => {
        const { namespace } = state.hosts.find((host) => host.name === node)!;
        const machine = await bootMachine({ name: node, namespace, given });
        machines.push(machine);
        return machine;
      },
      client: async (line) => (await labExec(name, "client", ["sh", "-c", line])).stdout,
      down,
    };
  } catch (error) {
    await down();
    throw error;
  }
}

/** Builds a package into a folder; resolves with the file's name. */
export async function buildPackage(outDir: string, version: string): Promise<string> {
  const architecture = ownArchitecture();
  await buildDist({ architecture, version, outDir, formats: ["deb"], compression: "quick" });
  return `dlba_${version}_${architecture.debian}.deb`;
}
