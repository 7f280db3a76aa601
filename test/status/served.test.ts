/** What the status process serves over TCP follows the configuration, its files, and what becomes of them. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { pino } from "pino";
import { configSchema } from "../../conf/schema.ts";
import { tokenStamp } from "../../status/access.ts";
import { keepServed, served } from "../../status/served.ts";

const directory = mkdtempSync(join(tmpdir(), "dlba-served-"));
after(() => rmSync(directory, { recursive: true }));
const tokenFile = join(directory, "token");

const config = (port: number | undefined) =>
  configSchema.parse({
    array: { name: "a", key_file: "unused" },
    nodes: [{ number: 1, name: "node1", address: "192.0.2.1", interface: "eth0" }],
    vservers: [{ name: "web", vips: ["192.0.2.10"], ports: [80], protocol: "tcp" }],
    status: port === undefined ? {} : { dashboard: { port, token_file: tokenFile } },
  });

test("services are opened, closed and moved, tried again when they fail, and opened anew for another token", async (t) => {
  const happened: string[] = [];
  const logged: string[] = [];
  const log = pino({}, { write: (line) => logged.push(String(JSON.parse(line).msg)) });
  let now = config(1);
  let isBroken = true;
  const service = served(
    {
      name: "the dashboard is",
      settingsOf: ({ dashboard }) => dashboard,
      open: async ({ address, port }) => {
        if (isBroken) throw new Error("no such file");
        happened.push(`open ${address} ${port}`);
        return { close: async () => void happened.push(`close ${port}`) };
      },
      stampOf: () => tokenStamp(tokenFile),
    },
    log,
  );
  const [node] = now.nodes;
  const kept = keepServed({ dashboard: service }, () => ({ config: now, node: node! }), log);
  t.after(() => kept.close());
  await kept.apply();
  await kept.apply();
  assert.deepEqual([happened, logged], [[], ["something of the status can't be served"]]);
  isBroken = false;
  writeFileSync(tokenFile, "one-token-of-enough-characters");
  await Promise.all([kept.apply(), kept.apply()]);
  writeFileSync(tokenFile, "another-token-of-enough-characters");
  await kept.apply();
  now = config(2);
  await kept.apply();
  now = config(undefined);
  await kept.apply();
  assert.deepEqual(happened, [
    "open 192.0.2.1 1",
    "close 1",
    "open 192.0.2.1 1",
    "close 1",
    "open 192.0.2.1 2",
    "close 2",
  ]);
  assert.equal(logged.filter((line) => line === "the dashboard is served").length, 3);
});
