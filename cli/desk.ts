/**
 * What one process of a node alone can have, and hands on when another one is to lead it: the record of who leads, the socket for
 * orders, the node's side of pushes, the signal for a reload, and the look at certificate files.
 */
import { statSync, writeFileSync } from "node:fs";
import { DlbaError } from "../conf/errors.ts";
import { certificateFiles } from "../conf/given-files.ts";
import { CERTIFICATE_LOOK_MS } from "../conf/limits.ts";
import type { NodeConfig } from "../conf/schema.ts";
import { productVersion } from "../conf/version.ts";
import { adminServer } from "../net/admin-socket.ts";
import { processIdentity } from "../net/process-identity.ts";
import type { Logger } from "../status/log.ts";
import { look, startWatch } from "./certificate-watch.ts";
import type { NodeOptions } from "./child-specs.ts";
import { answerKey } from "./key/desk.ts";
import { supervisorRecord, supervisorSocket } from "./places.ts";
import { peersOf } from "./push/control.ts";
import { fileReload, tellFile } from "./push/file.ts";
import { startNodeSide, type NodeSide } from "./push/node-side.ts";
import { openStore } from "./push/store.ts";
import type { Durable } from "./push/voter.ts";
import { answerReload } from "./reload-answer.ts";
import type { RunningNode } from "./running-node.ts";
import type { ServiceManager } from "./service-notices.ts";
import { handOverNode, type Successor } from "./upgrade/predecessor.ts";

/** Ours: by the time of an upgrade the file that it stands in is another version's. */
const VERSION = productVersion();

export interface Desk {
  readonly open: () => Promise<void>;
  readonly close: () => Promise<void>;
  /** The node's side of pushes, while the desk is open. */
  readonly side: () => NodeSide | undefined;
  /** Another process leads the node. */
  readonly handedOver: Promise<Successor>;
}

/** Who leads the node that lives in a run directory. */
export function recordSupervisor(runDir: string): void {
  writeFileSync(supervisorRecord(runDir), `${JSON.stringify(processIdentity(process.pid))}\n`);
}

export interface DeskOptions {
  readonly running: RunningNode;
  readonly places: NodeOptions;
  readonly node: NodeConfig;
  /** What the node was started with. */
  readonly runs: Durable;
  readonly service: ServiceManager;
  readonly log: Logger;
}

export function createDesk(options: DeskOptions): Desk {
  const { running, places, service, log } = options;
  const handed = Promise.withResolvers<Successor>();
  let open: Open | undefined;
  const regain = async (): Promise<void> => {
    open = await openDesk(options, async () => upgrade());
  };
  const release = async (): Promise<void> => {
    await open?.leave();
    open = undefined;
  };
  const upgrade = async (): Promise<string> => {
    const successor = await running.handOver(async (node) =>
      handOverNode({ node, options: places, service, release, regain, log }),
    );
    handed.resolve(successor);
    const { version, process: leader } = successor;
    return JSON.stringify({ version, before: VERSION, pid: leader.pid });
  };
  return {
    open: regain,
    close: async () => open?.close(),
    side: () => open?.side,
    handedOver: handed.promise,
  };
}

interface Open {
  readonly side: NodeSide;
  readonly close: () => Promise<void>;
  /** The same, but who has asked over the socket is still answered. */
  readonly leave: () => Promise<void>;
}

async function openDesk(options: DeskOptions, upgrade: () => Promise<string>): Promise<Open> {
  const { running, places, node, runs, log } = options;
  const { configFile, pinDir, runDir, stateDir } = places;
  recordSupervisor(runDir);
  // Another process may have voted for something since it was read.
  const store = openStore(stateDir);
  const durable = store.found ?? runs;
  const side = startNodeSide({
    node,
    configFile,
    pinDir,
    runDir,
    store,
    durable,
    runs: runs.current,
    running,
    log,
  });
  tellFile(store, side.current(), configFile, log);
  const reload = fileReload({ running, side, store, configFile });
  let isOpen = true;
  const handle = async (line: string): Promise<string> => {
    if (!isOpen)
      throw new DlbaError("HANDED_OVER", "another process is about to lead this node: ask again in a moment");
    if (line === "array") {
      const { config } = running.generation();
      return JSON.stringify({ key_file: config.array.key_file, peers: peersOf(config) });
    }
    if (line.startsWith("key ")) {
      const answer = await answerKey(line, running, log);
      side.keyChanged();
      return JSON.stringify(answer);
    }
    if (line === "reload") return JSON.stringify(await answerReload(reload, "command", log));
    if (line === "upgrade") return upgrade();
    throw new DlbaError(
      "UNKNOWN_COMMAND",
      "a supervisor knows 'reload', 'upgrade', 'array' and 'key …' alone",
    );
  };
  const admin = await adminServer({ path: supervisorSocket(runDir), handle });
  const watching = watchCertificates(running, log);
  const onHangUp = (): void => void answerReload(reload, "SIGHUP", log);
  process.on("SIGHUP", onHangUp);
  const end = async (): Promise<void> => {
    isOpen = false;
    clearInterval(watching);
    process.off("SIGHUP", onHangUp);
    await side.close();
  };
  return {
    side,
    close: async () => {
      await admin.close();
      await end();
    },
    leave: async () => {
      admin.leave();
      await end();
    },
  };
}

/** Certificates that change are taken by themselves; the configuration is not looked at. */
function watchCertificates(running: RunningNode, log: Logger): NodeJS.Timeout {
  const looks = (): string => certificateFiles(running.generation().config).map(lookOf).join("\n");
  let watched = certificateFiles(running.generation().config).join();
  let watch = startWatch(looks());
  return setInterval(() => {
    const names = certificateFiles(running.generation().config).join();
    if (names !== watched) watch = startWatch(looks());
    watched = names;
    if (look(watch, looks())) void answerReload(running.reloadFiles, "changed certificate files", log);
  }, CERTIFICATE_LOOK_MS);
}

/** What tells one state of a file from another. */
function lookOf(path: string): string {
  const found = statSync(path, { throwIfNoEntry: false });
  return found === undefined ? "none" : `${found.ino} ${found.size} ${found.mtimeMs} ${found.ctimeMs}`;
}
