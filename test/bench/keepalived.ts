/**
 * keepalived as it is usually deployed: a VIP that is on one of two nodes by VRRP, and nginx behind it on each, passing
 * requests on to the web servers. It runs on the nodes of a lab whose own are left idle.
 */
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { hostNamed } from "../../lab/planned-host.ts";
import { startDetached } from "../../lab/processes.ts";
import type { LabHost, LabState } from "../../lab/state.ts";
import { runIn } from "../../lab/topology.ts";

/** The master first. */
const PRIORITIES: Readonly<Record<string, number>> = { node1: 100, node2: 90 };
const MASTER_WITHIN_MS = 30_000;
const POLL_MS = 50;

/** VRRP version 2, the default, knows whole seconds only. */
const keepalivedConf = (vip: string, priority: number, advert_s: number): string => `
global_defs {
  router_id ${priority}
  ${Number.isInteger(advert_s) ? "" : "vrrp_version 3"}
}
vrrp_instance vip {
  state ${priority === 100 ? "MASTER" : "BACKUP"}
  interface eth0
  virtual_router_id 51
  priority ${priority}
  advert_int ${advert_s}
  virtual_ipaddress { ${vip}/32 dev eth0 }
}
`;

const nginxConf = (dir: string, webs: readonly string[]): string => `
user root; worker_processes 1; daemon off; pid ${join(dir, "nginx.pid")}; error_log ${join(dir, "error.log")};
events { worker_connections 4096; }
http {
  access_log off; keepalive_requests 1000000;
  ${["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((kind) => `${kind}_temp_path ${join(dir, "tmp")};`).join(" ")}
  upstream web { ${webs.map((web) => `server ${web}:80;`).join(" ")} keepalive 64; }
  server {
    listen 80 backlog=8192;
    location / { proxy_pass http://web; proxy_http_version 1.1; proxy_set_header Connection ""; }
  }
}
`;

/** Starts keepalived and nginx on a node, which has come up anew: without what it had before. */
export async function startKeepalived(state: LabState, name: string, advert_s: number): Promise<void> {
  const host = hostNamed(state.hosts, name);
  const vip = state.vips[0] ?? "";
  const place = (file: string): string => join(host.run_dir, file);
  mkdirSync(place("tmp"), { recursive: true });
  const webs = state.hosts.filter(({ kind }) => kind === "web").map(({ addresses }) => addresses[0] ?? "");
  writeFileSync(place("nginx.conf"), nginxConf(host.run_dir, webs));
  writeFileSync(place("keepalived.conf"), keepalivedConf(vip, PRIORITIES[name] ?? 0, advert_s));
  if (await hasVip(host, vip)) await runIn(host.namespace, ["ip", "addr", "del", `${vip}/32`, "dev", "eth0"]);
  const nginx = ["/usr/sbin/nginx", "-e", place("error.log"), "-c", place("nginx.conf")];
  startDetached(host.namespace, nginx, host.log_file);
  // It takes a pid file of a process that was killed for that of one that runs.
  for (const file of ["ka.pid", "vrrp.pid"]) rmSync(place(file), { force: true });
  const pids = ["--pid", place("ka.pid"), "--vrrp_pid", place("vrrp.pid")];
  const keepalived = ["keepalived", "--vrrp", "-n", "-l", "-D", "-f", place("keepalived.conf"), ...pids];
  startDetached(host.namespace, keepalived, host.log_file);
}

/** Waits until the node of the higher priority has the VIP, and says which one that is. */
export async function keepalivedMaster(state: LabState): Promise<string> {
  const deadline_ms = performance.now() + MASTER_WITHIN_MS;
  const [master = ""] = Object.keys(PRIORITIES);
  while (!(await isMasterAlone(state, master))) {
    if (performance.now() > deadline_ms) throw new Error(`${master} does not get the VIP`);
    await sleep(POLL_MS);
  }
  return master;
}

async function isMasterAlone(state: LabState, master: string): Promise<boolean> {
  for (const name of Object.keys(PRIORITIES)) {
    const isThere = await hasVip(hostNamed(state.hosts, name), state.vips[0] ?? "");
    if (isThere !== (name === master)) return false;
  }
  return true;
}

async function hasVip({ namespace }: LabHost, vip: string): Promise<boolean> {
  return (await runIn(namespace, ["ip", "-4", "-o", "addr", "show", "dev", "eth0"])).includes(` ${vip}/`);
}
