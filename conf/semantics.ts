/**
 * What links one part of the configuration to another: numbers and names that must differ, names that must
 * exist, and combinations that could never serve a request. Pure. It takes drafts, so that these errors can be
 * told together with the schema's: what the schema refused is absent from a draft, and no check guesses at it.
 */
import { parseIp, type IpAddress } from "./address.ts";
import type { ConfigPath, Finding } from "./config-error.ts";
import { pathText } from "./config-error.ts";
import { canonicalIp, type ConfigDraft, type Draft, duplicates, entriesOf, type Named } from "./draft.ts";
import type { Config } from "./schema.ts";
import { addresses, checkNodes, checkServices } from "./semantics-nodes.ts";
import { checkPools, unknownPool } from "./semantics-pools.ts";
import { checkRules } from "./semantics-rules.ts";

export type { Draft } from "./draft.ts";

type VserverDraft = Draft<Config["vservers"][number]>;

/** Everything that is wrong between the parts of a configuration. */
export function checkSemantics(config: ConfigDraft): Finding[] {
  return [
    ...checkNodes(config),
    ...checkPools(config),
    ...checkVservers(config),
    ...checkListeners(config),
    ...checkVips(config),
    ...checkAddresses(config),
    ...checkServices(config),
  ];
}

function checkVservers({ vservers, pools }: ConfigDraft): Finding[] {
  const names = entriesOf(vservers, ["vservers"], "name", (vserver) => vserver.name);
  const found = duplicates("vserver name", names, "give each vserver a name of its own");
  for (const [i, vserver] of (vservers ?? []).entries()) {
    if (vserver?.protocol === undefined) continue;
    const at = ["vservers", i];
    found.push(...checkPoolOf(vserver, at, pools));
    if (isProxied(vserver)) found.push(...checkRules(vserver, at, pools));
    else found.push(...checkUnproxied(vserver, at));
    found.push(...checkCertificates(vserver, at));
  }
  return found;
}

const isProxied = ({ protocol }: VserverDraft): boolean => protocol === "http" || protocol === "https";

function checkPoolOf(vserver: VserverDraft, at: ConfigPath, pools: ConfigDraft["pools"]): Finding[] {
  const path = [...at, "pool"];
  if (!("pool" in vserver)) {
    if (!isProxied(vserver)) return [];
    const message = `missing key 'pool' in ${pathText(at)}`;
    return [{ path, message, hint: `${vserver.protocol} requests need a pool to go to` }];
  }
  const pool = pools?.find((pool) => pool?.name !== undefined && pool.name === vserver.pool);
  if (pool !== undefined) return checkPoolKind(vserver, path, pool);
  return vserver.pool === undefined ? [] : unknownPool(vserver.pool, path, pools);
}

/** Requests go to a pool through the proxy; connections and datagrams go to a direct pool as they are. */
function checkPoolKind(
  vserver: VserverDraft,
  path: ConfigPath,
  { name, scheduling }: NonNullable<NonNullable<ConfigDraft["pools"]>[number]>,
): Finding[] {
  if (scheduling === undefined || (scheduling === "direct") !== isProxied(vserver)) return [];
  if (isProxied(vserver)) {
    const message = `pool '${name}' is direct, and a direct pool serves tcp and udp alone`;
    return [{ path, message, hint: "name a pool with scheduling cookie or url-hash, or use tcp or udp" }];
  }
  const message = `the scheduling of pool '${name}' is ${scheduling}, and a ${vserver.protocol} vserver needs a direct pool`;
  const hint = "set scheduling: direct there, remove pool (then the nodes serve it), or use http or https";
  return [{ path, message, hint }];
}

/** What only a proxied vserver can have. */
function checkUnproxied(vserver: VserverDraft, at: ConfigPath): Finding[] {
  const found: Finding[] = [];
  const refuse = (key: string): void => {
    const message = `a ${vserver.protocol} vserver has no ${key}: its traffic goes to what listens on the VIP`;
    found.push({ path: [...at, key], isAtKey: true, message, hint: `remove ${key}, or use http or https` });
  };
  if ((vserver.hosts?.length ?? 0) > 0) refuse("hosts");
  if ((vserver.trusted_proxies?.length ?? 0) > 0) refuse("trusted_proxies");
  if ((vserver.proxy_protocol_from?.length ?? 0) > 0) refuse("proxy_protocol_from");
  if ((vserver.error_pages?.length ?? 0) > 0) refuse("error_pages");
  if ((vserver.rules?.length ?? 0) > 0) refuse("rules");
  if (vserver.compression !== undefined) refuse("compression");
  if (vserver.traceparent === true) refuse("traceparent");
  if (vserver.max_connections_per_client !== undefined) refuse("max_connections_per_client");
  if (vserver.limits !== undefined) refuse("limits");
  return found;
}

function checkCertificates(vserver: VserverDraft, at: ConfigPath): Finding[] {
  const count = vserver.certificates?.length;
  const path = [...at, "certificates"];
  if (vserver.protocol === "https" && count === 0) {
    const hint = "give at least one entry with the files of a certificate and its key";
    return [{ path, message: `an https vserver needs certificates`, hint }];
  }
  if (vserver.protocol === "https" || count === undefined || count === 0) return [];
  const message = `only https vservers have certificates, and this one is ${vserver.protocol}`;
  return [{ path, isAtKey: true, message, hint: "remove certificates, or use https" }];
}

/** VIP, port and transport belong to one vserver. */
function checkListeners({ vservers }: ConfigDraft): Finding[] {
  const listeners = (vservers ?? []).flatMap((vserver, i): Named[] => {
    if (vserver?.protocol === undefined) return [];
    const transport = vserver.protocol === "udp" ? "udp" : "tcp";
    const vips = [...new Set((vserver.vips ?? []).map(canonicalIp))];
    return (vserver.ports ?? []).flatMap((port, j) =>
      vips.map((vip) => ({
        key: vip === undefined || port === undefined ? undefined : `${vip} port ${port}/${transport}`,
        path: ["vservers", i, "ports", j],
      })),
    );
  });
  return duplicates("listener", listeners, "give each vserver a VIP or port of its own");
}

function checkVips({ vservers, nodes, pools }: ConfigDraft): Finding[] {
  const physical = new Map<string, string>();
  for (const { key, path } of [...addresses(nodes), ...serverAddresses(pools)]) {
    if (key !== undefined && !physical.has(String(key)))
      physical.set(String(key), pathText(path.slice(0, -1)));
  }
  return (vservers ?? []).flatMap((vserver, i) => {
    const vips: Named[] = [];
    vserver?.vips?.forEach((vip, j) =>
      vips.push({ key: canonicalIp(vip), path: ["vservers", i, "vips", j] }),
    );
    const taken = vips.flatMap(({ key, path }): Finding[] => {
      const owner = physical.get(String(key));
      if (owner === undefined) return [];
      const hint = "use an address that no machine has: every node holds the VIP";
      return [{ path, message: `VIP ${key} is the physical address of ${owner}`, hint }];
    });
    return duplicates("VIP", vips, "name each VIP once in a vserver").concat(taken);
  });
}

function serverAddresses(pools: ConfigDraft["pools"]): Named[] {
  return (pools ?? []).flatMap((pool, i) =>
    entriesOf(pool?.servers, ["pools", i, "servers"], "address", ({ address }) => canonicalIp(address)),
  );
}

/** Addresses that no host can have, or that only mean this machine. */
function checkAddresses({ nodes, vservers, pools }: ConfigDraft): Finding[] {
  const found: Finding[] = [];
  const check = (text: string | undefined, path: ConfigPath, mayBeLoopback: boolean): void => {
    const kind = specialKind(text);
    if (kind === undefined || (kind === "a loopback address" && mayBeLoopback)) return;
    found.push({ path, message: `${text} is ${kind}`, hint: "use the unicast address of a host" });
  };
  nodes?.forEach((node, i) => {
    check(node?.address, ["nodes", i, "address"], false);
    node?.interfaces?.forEach((part, j) =>
      check(part?.address, ["nodes", i, "interfaces", j, "address"], false),
    );
  });
  vservers?.forEach((vserver, i) =>
    vserver?.vips?.forEach((vip, j) => check(vip, ["vservers", i, "vips", j], false)),
  );
  // Hosts of a direct pool are reached by MAC address, so they can't be on loopback.
  pools?.forEach((pool, i) =>
    pool?.servers?.forEach((server, j) =>
      check(server?.address, ["pools", i, "servers", j, "address"], pool.scheduling !== "direct"),
    ),
  );
  return found;
}

function specialKind(text: string | undefined): string | undefined {
  const address = text === undefined ? undefined : parseIp(text);
  if (address === undefined) return undefined;
  const first = address.bytes[0]!;
  if (address.bytes.every((byte) => byte === 0)) return "the unspecified address";
  if (address.family === 6) {
    if (isMapped(address)) return "an IPv4 address in IPv6 form";
    if (first === 0xff) return "a multicast address";
    return address.text === "::1" ? "a loopback address" : undefined;
  }
  if (first === 127) return "a loopback address";
  if (first === 0) return "no host's address";
  if (first >= 224) return first < 240 ? "a multicast address" : "no host's address";
  return undefined;
}

/** ::ffff:a.b.c.d (RFC 4291, 2.5.5.2). */
function isMapped({ bytes }: IpAddress): boolean {
  return bytes.subarray(0, 10).every((byte) => byte === 0) && bytes[10] === 0xff && bytes[11] === 0xff;
}
