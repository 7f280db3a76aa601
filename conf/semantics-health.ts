/** What must hold between the parts of a pool that keep it healthy: checks, outliers, retries, queue, TLS, states. Pure. */
import type { ConfigPath, Finding } from "./config-error.ts";
import { pathText } from "./config-error.ts";
import type { Draft } from "./draft.ts";
import type { PoolConfig } from "./schema.ts";

type PoolDraft = Draft<PoolConfig>;
type ServerDraft = Draft<PoolConfig["servers"][number]>;

/** What only proxied pools have, of a direct pool's. */
export function checkDirectHealth(pool: PoolDraft, at: ConfigPath): Finding[] {
  const found: Finding[] = pool.check?.type === "grpc" ? [notGrpc(at)] : [];
  const refuse = (path: ConfigPath): void => {
    const message = `a direct pool has no '${path.at(-1)}': its traffic doesn't pass the nodes`;
    found.push({ path, isAtKey: true, message, hint: "remove it, or use another scheduling" });
  };
  for (const key of ["outliers", "retries", "queue", "tls"] as const) {
    if (pool[key] !== undefined) refuse([...at, key]);
  }
  for (const [i, server] of (pool.servers ?? []).entries()) {
    for (const key of ["state", "max_connections", "server_name"] as const) {
      if (server?.[key] !== undefined) refuse([...at, "servers", i, key]);
    }
  }
  return found;
}

/** What has no effect, or can't be, in a pool that is proxied to. */
export function checkProxiedHealth(pool: PoolDraft, at: ConfigPath): Finding[] {
  return [...checkKindOfCheck(pool, at), ...checkTls(pool, at), ...checkQueue(pool, at)];
}

const notGrpc = (at: ConfigPath): Finding => ({
  path: [...at, "check", "type"],
  message: `${pathText(at)} can't be checked by grpc: it doesn't speak HTTP/2`,
  hint: "set protocol: h2, or use tcp or http",
});

function checkKindOfCheck({ check, protocol }: PoolDraft, at: ConfigPath): Finding[] {
  if (check?.type === "grpc" && protocol !== undefined && protocol !== "h2") return [notGrpc(at)];
  if (check?.type !== "icmp") return [];
  const message = "web servers that are proxied to can't be checked by icmp";
  return [
    { path: [...at, "check", "type"], message, hint: "use tcp or http: an echo says nothing of a port" },
  ];
}

function checkTls({ tls, servers }: PoolDraft, at: ConfigPath): Finding[] {
  const found: Finding[] = [];
  const refuse = (path: ConfigPath, message: string, hint: string): void => {
    found.push({ path, isAtKey: true, message, hint });
  };
  if (tls === undefined) {
    for (const [i, server] of (servers ?? []).entries()) {
      if (server?.server_name === undefined) continue;
      const path = [...at, "servers", i, "server_name"];
      refuse(
        path,
        `'server_name' has no effect: ${pathText(at)} has no tls`,
        "remove it, or add tls to the pool",
      );
    }
    return found;
  }
  const path = [...at, "tls"];
  if (tls.verify === false && tls.ca !== undefined)
    refuse([...path, "ca"], "'ca' has no effect: nothing is verified", "remove it, or set verify: true");
  if (tls.certificate !== undefined && !("key" in tls))
    refuse([...path, "certificate"], "a certificate needs its key", "add 'key' beside it");
  if (tls.key !== undefined && !("certificate" in tls))
    refuse([...path, "key"], "a key needs its certificate", "add 'certificate' beside it");
  return found;
}

const mayBeBounded = (server: ServerDraft | undefined): boolean =>
  server === undefined || "max_connections" in server;

/** Nobody ever waits where no web server has a bound. */
function checkQueue({ queue, servers }: PoolDraft, at: ConfigPath): Finding[] {
  if (queue === undefined || servers === undefined) return [];
  if (servers.some(mayBeBounded)) return [];
  const message = `'queue' has no effect: no web server of ${pathText(at)} has max_connections`;
  const hint = "give them max_connections, or remove queue";
  return [{ path: [...at, "queue"], isAtKey: true, message, hint }];
}
