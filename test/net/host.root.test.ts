/** What a node changes on its machine, in a network namespace of the test's own. Needs root. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { command } from "../../net/command.ts";

const NAMESPACE = `dlbatest-${process.pid}`;
const HOST = join(import.meta.dirname, "../../net/host.ts");
const dir = mkdtempSync(join(tmpdir(), "dlba-host-"));
const record = join(dir, "host.json");

async function inside(...argv: string[]): Promise<string> {
  return command("nsenter", [`--net=/run/netns/${NAMESPACE}`, "--", ...argv]);
}

/** Calls functions of net/host.ts in the namespace. */
async function host(expression: string): Promise<unknown> {
  const script = `import * as host from ${JSON.stringify(HOST)};
    console.log(JSON.stringify((await ${expression}) ?? null));`;
  return JSON.parse(await inside(process.execPath, "--input-type=module", "-e", script));
}

const prepare = async (...vips: string[]): Promise<unknown> =>
  host(`host.prepareHost(["d0", "d1"], ${JSON.stringify(vips)}, ${JSON.stringify(record)})`);

async function vipsOnLo(): Promise<string[]> {
  const links: { addr_info: { local: string }[] }[] = JSON.parse(
    await inside("ip", "-j", "addr", "show", "lo"),
  );
  const addresses = links.flatMap(({ addr_info: list }) => list.map(({ local }) => local));
  return addresses.filter((address) => address !== "127.0.0.1" && address !== "::1");
}

async function arp(): Promise<string> {
  const names = ["all", "d0", "d1"].flatMap((scope) =>
    ["arp_ignore", "arp_announce"].map((name) => `/proc/sys/net/ipv4/conf/${scope}/${name}`),
  );
  return (await inside("cat", ...names)).replaceAll("\n", "");
}

before(async () => {
  await command("ip", ["netns", "add", NAMESPACE]);
  await inside("ip", "link", "add", "d0", "type", "veth", "peer", "name", "d1");
});
after(async () => {
  await command("ip", ["netns", "del", NAMESPACE]);
  rmSync(dir, { recursive: true });
});

test("VIPs come onto lo, those of an earlier configuration leave, and all is given back", async () => {
  assert.equal(await arp(), "000000");
  await prepare("192.0.2.10", "2001:db8::10");
  assert.deepEqual(await vipsOnLo(), ["192.0.2.10", "2001:db8::10"]);
  assert.equal(await arp(), "121212");

  await inside("ip", "addr", "add", "192.0.2.99/32", "dev", "lo");
  await prepare("192.0.2.10", "192.0.2.11");
  assert.deepEqual((await vipsOnLo()).toSorted(), ["192.0.2.10", "192.0.2.11", "192.0.2.99"]);

  const removed = await host(`host.restoreHost(${JSON.stringify(record)})`);
  assert.deepEqual(removed, ["192.0.2.10", "192.0.2.11"]);
  assert.deepEqual(await vipsOnLo(), ["192.0.2.99"]);
  assert.equal(await arp(), "000000");
});

test("interfaces are seen in the namespace, up or not", async () => {
  assert.deepEqual(await host("host.interfaceNames()"), ["lo", "d1", "d0"]);
  assert.deepEqual(await host(`host.interfacesWith("192.0.2.99")`), ["lo"]);
});

test("fragments that come in by lo are not filtered strictly, and that is given back, too", async () => {
  const filter = async (): Promise<string> =>
    (await inside("cat", "/proc/sys/net/ipv4/conf/lo/rp_filter")).trim();
  await inside("sysctl", "-qw", "net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.lo.rp_filter=0");
  await prepare("192.0.2.10");
  assert.equal(await filter(), "0");
  await inside("sysctl", "-qw", "net.ipv4.conf.all.rp_filter=1");
  await prepare("192.0.2.10");
  assert.equal(await filter(), "2");
  await host(`host.restoreHost(${JSON.stringify(record)})`);
  assert.equal(await filter(), "0");
});
