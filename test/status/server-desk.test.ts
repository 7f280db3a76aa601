/** Commands for web servers: on one node, on all of them, and what is remembered. */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { DlbaError } from "../../conf/errors.ts";
import { CONTROL_REQUEST_BYTES } from "../../conf/limits.ts";
import { configSchema } from "../../conf/schema.ts";
import { readOverrides, type ServerOrder } from "../../conf/server-orders.ts";
import { createOrderBook, ordersOf } from "../../status/order-book.ts";
import { createServerDesk, type ServerDesk } from "../../status/server-desk.ts";
import { createTelling } from "../../status/telling.ts";
import { quiet } from "./samples.ts";

const directory = mkdtempSync(join(tmpdir(), "dlba-desk-"));
after(() => rmSync(directory, { recursive: true }));
let made = 0;

const LONG = "x".repeat(63);
const config = configSchema.parse({
  array: { name: "a", key_file: "unused" },
  nodes: [1, 2, 3].map((number) => ({
    number,
    name: `node${number}`,
    address: `192.0.2.${number}`,
    interface: "eth0",
  })),
  vservers: [{ name: "web", vips: ["192.0.2.10"], ports: [80], protocol: "http", pool: "shop" }],
  pools: [
    {
      name: "shop",
      servers: [
        { id: "web1", address: "192.0.2.21" },
        { id: "web2", address: "192.0.2.22", weight: 2 },
      ],
    },
    { name: LONG, servers: [{ id: LONG, address: "192.0.2.23" }] },
    { name: "names", scheduling: "direct", servers: [{ id: "ns1", number: 1, address: "192.0.2.31" }] },
  ],
});

interface TestNode {
  readonly runDir: string;
  readonly desk: ServerDesk;
  readonly orders: () => ServerOrder[];
  isAway: boolean;
}

/** Three nodes that ask one another without a network. */
function array(runDirs: readonly string[] = []): TestNode[] {
  const nodes: TestNode[] = config.nodes.map((node, index) => {
    const runDir = runDirs[index] ?? mkdtempSync(join(directory, `${made++}`));
    const book = createOrderBook(readOverrides(runDir, config));
    const desk = createServerDesk({
      config: () => config,
      node,
      runDir,
      book,
      telling: createTelling(() => ordersOf(book)),
      log: quiet,
      askNode: async ({ number }, line) => {
        assert.ok(Buffer.byteLength(line) <= CONTROL_REQUEST_BYTES, "the control line takes it");
        const asked = nodes[number - 1]!;
        if (asked.isAway) throw new DlbaError("CONTROL_TIMEOUT", "no answer");
        return (await asked.desk.answerNode(line)) ?? assert.fail(`not understood: ${line}`);
      },
    });
    return { runDir, desk, orders: () => ordersOf(book), isAway: false };
  });
  return nodes;
}
const drained = { pool: "shop", id: "web1", state: "drain", weight: null, complaint: null } as const;

describe("a command", () => {
  test("is carried out on all nodes, and told in words", async () => {
    const nodes = array();
    const answers = [
      ["server shop/web1 drain", "web1 of pool shop drains"],
      ["weight shop/web1 50", "web1 of pool shop drains, weight 50"],
      ["server shop/web1 maint", "web1 of pool shop is in maintenance, weight 50"],
      ["server shop/web1 ready", "web1 of pool shop stands as configured, weight 50"],
      ["weight shop/web1 1", "web1 of pool shop stands as configured"],
      // As HAProxy writes it.
      ["set server shop/web1 state drain", "web1 of pool shop drains"],
      ["set weight shop/web2 3", "web2 of pool shop stands as configured, weight 3"],
      ["set server shop/web2 weight 7", "web2 of pool shop stands as configured, weight 7"],
      [`server ${LONG}/${LONG} maint`, `${LONG} of pool ${LONG} is in maintenance`],
    ] as const;
    for (const [line, answer] of answers) assert.equal(await nodes[0]!.desk.command(line), answer);
    for (const { orders } of nodes) {
      assert.deepEqual(orders().slice(0, 2), [drained, { ...drained, id: "web2", state: null, weight: 7 }]);
    }
  });

  test("that is meant for this node alone stays here", async () => {
    const nodes = array();
    assert.equal(
      await nodes[0]!.desk.command("here server shop/web1 drain"),
      "web1 of pool shop drains on node1",
    );
    assert.deepEqual(
      nodes.map(({ orders }) => orders()),
      [[drained], [], []],
    );
  });

  test("that a node has missed says which, and that node learns of it when it starts", async () => {
    const nodes = array();
    nodes[2]!.isAway = true;
    await assert.rejects(nodes[0]!.desk.command("server shop/web1 drain"), {
      code: "NODES_MISSED",
      message: "web1 of pool shop drains, but not on node3 (no answer)",
    });
    assert.deepEqual(
      nodes.map(({ orders }) => orders()),
      [[drained], [drained], []],
    );
    nodes[2]!.isAway = false;
    await nodes[2]!.desk.catchUp();
    assert.deepEqual(nodes[2]!.orders(), [drained]);
  });

  test("outlasts its process, in a file that is its user's alone", async () => {
    const nodes = array();
    await nodes[0]!.desk.command("server shop/web1 drain");
    const again = array(nodes.map(({ runDir }) => runDir));
    for (const { runDir, orders } of again) {
      assert.deepEqual(orders(), [drained]);
      assert.equal(statSync(join(runDir, "servers.json")).mode & 0o777, 0o600);
      assert.match(readFileSync(join(runDir, "servers.json"), "utf8"), /^\[.*\]\n$/);
    }
  });

  test("that makes no sense is refused with what would", async () => {
    const [{ desk }] = array() as [TestNode, ...TestNode[]];
    const refusals = [
      ["sever shop/web1 drain", "COMMAND_UNKNOWN", "unknown command 'sever'; did you mean 'server'?"],
      ["server shop/web1 drain now", "COMMAND_UNKNOWN", "unknown command 'server'; did you mean 'server'?"],
      ["server shop/web1 drains", "STATE_UNKNOWN", "unknown state 'drains'; did you mean 'drain'?"],
      ["server shop/web1", "STATE_UNKNOWN", "unknown state ''; expected ready, drain or maint"],
      [
        "server shop/web3 drain",
        "SERVER_UNKNOWN",
        "there is no web server 'shop/web3'; did you mean 'shop/web1'?",
      ],
      ["weight shop/web1 300", "WEIGHT_INVALID", "expected a weight from 0 to 256, got '300'"],
      ["set server shop/web1 weight x", "WEIGHT_INVALID", "expected a weight from 0 to 256, got 'x'"],
      ["set server shop/web1 addr 1", "COMMAND_UNKNOWN", "unknown command 'server'; did you mean 'server'?"],
      ["weight shop/web1 -1", "WEIGHT_INVALID", "expected a weight from 0 to 256, got '-1'"],
    ] as const;
    for (const [line, code, message] of refusals)
      await assert.rejects(desk.command(line), { code, message }, line);
    await assert.rejects(desk.command("server names/ns1 drain"), { code: "SERVER_UNKNOWN" });
  });
});

test("a node takes nothing from another one that it can't read or does not know", async () => {
  const [node] = array();
  for (const odd of ["{", "[]", '{"pool":"shop","id":"web9","at_ms":1}', '{"pool":"shop","id":"web1"}'])
    assert.equal(await node!.desk.answerNode(`override ${odd}`), "ok");
  const halfGood = { pool: "shop", id: "web1", state: "asleep", weight: 1e9, at_ms: 1 };
  await node!.desk.answerNode(`override ${JSON.stringify(halfGood)}`);
  assert.deepEqual(node!.orders(), []);
  assert.equal(await node!.desk.answerNode("status"), undefined);
});
