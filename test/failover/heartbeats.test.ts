import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { deriveKey } from "../../conf/keys.ts";
import { configSchema, type Config } from "../../conf/schema.ts";
import { heartbeatOptions, startOwnHeartbeats } from "../../failover/heartbeats.ts";

const folder = mkdtempSync(join(tmpdir(), "dlba-heartbeats-"));
after(() => rmSync(folder, { recursive: true }));
const arrayKey = Buffer.alloc(32, 3);
const key_file = join(folder, "array.key");
writeFileSync(key_file, arrayKey.toString("base64"));

function configWith(firstIsEnabled: boolean): Config {
  return configSchema.parse({
    array: { name: "test", key_file },
    nodes: [1, 2, 5].map((number) => ({
      number,
      name: `node${number}`,
      address: `192.0.2.${number}`,
      interface: "eth0",
      interfaces: [{ interface: "eth1", address: `198.51.100.${number}` }],
      enabled: number !== 1 || firstIsEnabled,
    })),
    vservers: [{ name: "web", vips: ["192.0.2.100"], ports: [80], protocol: "tcp" }],
    scheduler: { heartbeat_ms: 35 },
  });
}
const optionsOf = (config: Config, index: number) => heartbeatOptions(config, config.nodes[index]!, "/pins");

test("a node that does not schedule asks the scheduler, on every interface", () => {
  assert.deepEqual(optionsOf(configWith(true), 2), {
    pinDir: "/pins",
    key: deriveKey(arrayKey, "heartbeat", 16),
    number: 5,
    interfaces: ["eth0", "eth1"],
    peers: [1],
    heartbeat_ms: 35,
  });
});

test("the scheduler asks nobody from here", () => {
  const config = configWith(false);
  assert.deepEqual(
    [0, 1, 2].map((index) => optionsOf(config, index).peers),
    [[2], [], [2]],
  );
  assert.equal(startOwnHeartbeats(config, config.nodes[1]!, "/pins"), undefined);
});

test("without the array key nothing starts", () => {
  const config = configWith(true);
  const without = { ...config, array: { ...config.array, key_file: join(folder, "none") } };
  assert.throws(() => optionsOf(without, 2), { code: "ARRAY_KEY_UNREADABLE" });
});
