/**
 * What links one part of the configuration to another: numbers and names that must differ, names that must
 * exist, and combinations that could never serve a request. Pure. It takes drafts, so that these errors can be
 * told together with the schema's: what the schema refused is absent from a draft, and no check guesses at it.
 */
import { parseIp, type IpAddress } from "./address.ts";
import type { ConfigPath, Finding } from "./config-error.ts";
import { pathText } from "./config-error.ts";
import type { Config } from "./schema.ts";
import { listOf, suggestion } from "./suggest.ts";

/** A value of which any part may be absent. */
export type Draft<T> = T extends readonly (infer Item)[]
  ? readonly (Draft<Item> | undefined)[]
  : T extends object
    ? { readonly [Key in keyof T]?: Draft<T[Key]> | undefined }
    : T;

type ConfigDraft = Draft<Config>;
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
  ];
}

interface Named {
  readonly key: string | number | undefined;
  readonly path: ConfigPath;
}

/** Every entry whose key an earlier one has: `what` names it, e.g. "node number". */
function duplicates(what: string, entries: readonly Named[], advice: string): Finding[] {
  const first = new Map<string | number, ConfigPath>();
  const found: Finding[] = [];
  for (const { key, path } of entries) {
    if (key === undefined) continue;
    const earlier = first.get(key);
    if (earlier === undefined) first.set(key, path);
    else {
      const message = `${what} ${key} is already that of ${pathText(earlier)}`;
      found.push({ path, message, hint: advice });
    }
  }
  return found;
}

type List<T> = readonly (T | undefined)[] | undefined;

function entriesOf<T>(
  list: List<T>,
  at: ConfigPath,
  field: string,
  keyOf: (item: T) => string | number | undefined,
): Named[] {
  return (list ?? []).map((item, i) => {
    const key = item === undefined ? undefined : keyOf(item);
    return { key, path: at.concat(i, field) };
  });
}

function checkNodes({ nodes }: ConfigDraft): Finding[] {
  const at = ["nodes"];
  return [
    ...duplicates(
      "node number",
      entriesOf(nodes, at, "number", (node) => node.number),
      "give each node a number of its own",
    ),
    ...duplicates(
      "node name",
      entriesOf(nodes, at, "name", (node) => node.name?.toLowerCase()),
      "give each node a name of its own",
    ),
    ...duplicates(
      "node address",
      entriesOf(nodes, at, "address", (node) => canonicalIp(node.address)),
      "give each node its own physical address",
    ),
    ...duplicates(
      "MAC address",
      entriesOf(nodes, at, "mac", (node) => node.mac?.toLowerCase()),
      "give each node its own MAC address, or leave mac out",
    ),
    ...checkSomeoneServes(nodes),
  ];
}

function checkSomeoneServes(nodes: ConfigDraft["nodes"]): Finding[] {
  const mayServe = (node: NonNullable<typeof nodes>[number]): boolean =>
    node === undefined || (node.enabled !== false && node.weight !== 0);
  if (nodes === undefined || nodes.length === 0 || nodes.some(mayServe)) return [];
  const hint = "enable at least one node, with a weight of 1 or more";
  return [{ path: ["nodes"], message: "no node may get traffic", hint }];
}

function checkPools({ pools }: ConfigDraft): Finding[] {
  const names = entriesOf(pools, ["pools"], "name", (pool) => pool.name);
  const found = duplicates("pool name", names, "give each pool a name of its own");
  for (const [i, pool] of (pools ?? []).entries()) {
    const ids = entriesOf(pool?.servers, ["pools", i, "servers"], "id", (server) => server.id);
    found.push(...duplicates("web server id", ids, "give each web server of a pool an id of its own"));
  }
  return found;
}

function checkVservers({ vservers, pools }: ConfigDraft): Finding[] {
  const names = entriesOf(vservers, ["vservers"], "name", (vserver) => vserver.name);
  const found = duplicates("vserver name", names, "give each vserver a name of its own");
  for (const [i, vserver] of (vservers ?? []).entries()) {
    if (vserver?.protocol === undefined) continue;
    const at = ["vservers", i];
    const isProxied = vserver.protocol === "http" || vserver.protocol === "https";
    found.push(...(isProxied ? checkPoolOf(vserver, at, pools) : checkUnproxied(vserver, at)));
    found.push(...checkCertificates(vserver, at));
  }
  return found;
}

function checkPoolOf(vserver: VserverDraft, at: ConfigPath, pools: ConfigDraft["pools"]): Finding[] {
  if (!("pool" in vserver)) {
    const message = `missing key 'pool' in ${pathText(at)}`;
    return [{ path: [...at, "pool"], message, hint: `${vserver.protocol} requests need a pool to go to` }];
  }
  const areAllKnown = pools?.every((pool) => pool?.name !== undefined) ?? false;
  const names = pools?.flatMap((pool) => pool?.name ?? []) ?? [];
  if (vserver.pool === undefined || !areAllKnown || names.includes(vserver.pool)) return [];
  const meant = suggestion(vserver.pool, names);
  const others =
    names.length === 0 ? "add it under pools" : `the pools are ${listOf(names.slice(0, 20), "and")}`;
  const hint = meant === undefined ? others : `did you mean '${meant}'?`;
  return [{ path: [...at, "pool"], message: `there is no pool '${vserver.pool}'`, hint }];
}

/** What only a proxied vserver can have. */
function checkUnproxied(vserver: VserverDraft, at: ConfigPath): Finding[] {
  const found: Finding[] = [];
  const refuse = (key: string): void => {
    const message = `a ${vserver.protocol} vserver has no ${key}: its traffic goes to what listens on the VIP`;
    found.push({ path: [...at, key], isAtKey: true, message, hint: `remove ${key}, or use http or https` });
  };
  if (vserver.pool !== undefined) refuse("pool");
  if ((vserver.hosts?.length ?? 0) > 0) refuse("hosts");
  if ((vserver.trusted_proxies?.length ?? 0) > 0) refuse("trusted_proxies");
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
  const remember = (address: string | undefined, path: ConfigPath): void => {
    const key = canonicalIp(address);
    if (key !== undefined && !physical.has(key)) physical.set(key, pathText(path));
  };
  nodes?.forEach((node, i) => remember(node?.address, ["nodes", i]));
  pools?.forEach((pool, i) =>
    pool?.servers?.forEach((server, j) => remember(server?.address, ["pools", i, "servers", j])),
  );
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

/** Addresses that no host can have, or that only mean this machine. */
function checkAddresses({ nodes, vservers, pools }: ConfigDraft): Finding[] {
  const found: Finding[] = [];
  const check = (text: string | undefined, path: ConfigPath, mayBeLoopback: boolean): void => {
    const kind = specialKind(text);
    if (kind === undefined || (kind === "a loopback address" && mayBeLoopback)) return;
    found.push({ path, message: `${text} is ${kind}`, hint: "use the unicast address of a host" });
  };
  nodes?.forEach((node, i) => check(node?.address, ["nodes", i, "address"], false));
  vservers?.forEach((vserver, i) =>
    vserver?.vips?.forEach((vip, j) => check(vip, ["vservers", i, "vips", j], false)),
  );
  pools?.forEach((pool, i) =>
    pool?.servers?.forEach((server, j) =>
      check(server?.address, ["pools", i, "servers", j, "address"], true),
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

/** One text per address, however it was written. */
function canonicalIp(text: string | undefined): string | undefined {
  return text === undefined ? undefined : parseIp(text)?.text;
}
