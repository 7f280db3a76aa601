/** The scheduler processes of three nodes on one segment, with real traffic. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { epochOf } from "../../conf/epoch.ts";
import { ip, until } from "./network.ts";
import {
  answers,
  claim,
  NUMBERS,
  segment,
  startScheduler,
  startStandIn,
  statusDesk,
  stop,
  VIP6,
} from "./three-nodes.ts";

test(
  "three nodes share one VIP, survive a failed node, and a killed scheduler process",
  { timeout: 180_000 },
  async (t) => {
    const array = segment(t);
    const [first, second] = array.nodes;
    assert.ok(first && second);
    const ask = statusDesk(t, first);
    const askSecond = statusDesk(t, second);
    const standIns = await Promise.all(array.nodes.map((node) => startStandIn(t, array, node)));
    const schedulers = array.nodes.map((node) => startScheduler(t, array, node));
    await until("the data planes are there, and nobody schedules", async () => {
      const reports = await Promise.all([ask("scheduler"), askSecond("scheduler")]);
      return reports.every(
        ({ epoch, nodes }) => epoch === 0 && nodes.every(({ state }) => state === "starting"),
      );
    });
    claim(array, 1, 1);

    await until("all three nodes are up", async () => {
      return (await ask("scheduler")).nodes.every(({ state }) => state === "up");
    });
    await until("all three nodes answer", () =>
      new Set(answers(array, 10)).isSupersetOf(new Set(["node1", "node2", "node3"])),
    );
    const names = new Set(answers(array, 60));
    assert.deepEqual([...names].sort(), ["node1", "node2", "node3"]);
    assert.ok(!answers(array, 20, VIP6).includes(""), "IPv6 requests are answered");

    const report = await ask("scheduler");
    assert.equal(report.xdp_mode, "generic");
    assert.deepEqual(
      report.nodes.map(({ mac, failed }) => [mac, failed]),
      NUMBERS.map((number) => [`02:00:00:00:18:0${number}`, false]),
    );
    assert.ok(
      report.nodes.every(({ ip_groups }) => ip_groups > 5),
      "buckets are spread",
    );
    assert.ok((report.packets_to_node["2"] ?? 0) > 0 && (report.counters["arp_answered"] ?? 0) > 0);
    await until("the sweep has brought figures", async () => {
      return (await ask("scheduler")).nodes.every(({ hits, number }) => hits === number * 10);
    });
    const standby = await askSecond("scheduler");
    assert.deepEqual(
      standby.nodes.map(({ state }) => state),
      ["up", "up", "up"],
      "what the scheduler holds of the nodes is told to all",
    );
    await until("a node that does not schedule has the scheduler's table", async () => {
      const { owners: own, next: ownNext } = await ask("buckets");
      const { owners, next } = await askSecond("buckets");
      return owners === own && next === ownNext;
    });
    assert.ok(
      report.heartbeats_sent > 0 && report.nodes.every(({ effective_weight }) => effective_weight === 1),
    );

    // The process that decides is killed: packets go on, and its successor moves nothing.
    await stop(schedulers[0]!, "SIGKILL");
    assert.ok(!answers(array, 10).includes(""));
    schedulers[0] = startScheduler(t, array, first);
    const before = await ask("buckets");
    const owners = Buffer.from(before.owners, "base64");
    assert.ok(owners.filter((owner) => owner !== 255).length > 50, "the table was taken over");
    await until("its successor is followed", async () => {
      const { nodes, table_version } = await ask("scheduler");
      const isFollowed = nodes.every((node) => node.state === "up" && node.table_version === table_version);
      return isFollowed && table_version >= report.table_version + 2 ** 20;
    });
    assert.equal((await ask("scheduler")).epoch, epochOf(1, 1), "it goes on in the same epoch");
    assert.deepEqual(Buffer.from((await ask("buckets")).owners, "base64"), owners);

    // A node stops answering the sweep: its buckets go to the others.
    await stop(standIns[1]!, "SIGKILL");
    await until("the node counts as failed, and all its buckets have moved", async () => {
      const [, row] = (await ask("scheduler")).nodes;
      return row?.failed === true && row.ip_groups === 0;
    });
    const later = Buffer.from((await ask("buckets")).owners, "base64");
    owners.forEach((owner, i) => {
      if (owner !== 2 && owner !== 255) assert.equal(later[i], owner, "nobody else's bucket moved");
    });
    assert.deepEqual([...new Set(answers(array, 30))].sort(), ["node1", "node3"]);
    standIns[1] = await startStandIn(t, array, second);
    await until("the node is back", async () => (await ask("scheduler")).nodes[1]?.state === "up");
    await until("it gets a share again", () => answers(array, 10).includes("node2"));

    assert.deepEqual(await Promise.all(schedulers.map((child) => stop(child, "SIGTERM"))), [0, 0, 0]);
    assert.match(ip("-n", first.netns, "-o link show eth0"), /xdpgeneric/, "the data plane stays");
  },
);
