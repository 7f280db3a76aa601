/** Who is asked by ICMP echo, when, and what counts as an answer. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { IpAddress } from "../../conf/address.ts";
import type { NodeConfig } from "../../conf/schema.ts";
import { createEchoes } from "../../failover/echoes.ts";

const MS = 1_000_000;

const nodeOf = (number: number, further: readonly string[] = []): NodeConfig => ({
  number,
  name: `node${number}`,
  address: `198.18.1.${number}`,
  interface: "eth0",
  interfaces: further.map((address, i) => ({ interface: `eth${i + 1}`, address })),
  enabled: true,
  weight: 1,
  priority: 100,
});

/** Echoes of two nodes, one of them on two segments; the network is what the test says. */
function stage(answer: (address: IpAddress) => Promise<boolean>) {
  const asked: string[] = [];
  let isClosed = false;
  const echoes = createEchoes([nodeOf(2, ["198.19.1.2"]), nodeOf(3)], {
    echo: async (address) => {
      asked.push(address.text);
      return answer(address);
    },
    close: () => (isClosed = true),
  });
  const answers = async (): Promise<[number, number][]> => {
    await new Promise((resolve) => void setImmediate(resolve));
    return [...echoes.answered_ns];
  };
  return { echoes, asked, answers, isClosed: () => isClosed };
}

test("a node is asked on all its addresses, every 10 ms, and only while somebody wants to know", async () => {
  const { echoes, asked, answers, isClosed } = stage(async () => true);
  echoes.ask([2], 100 * MS);
  echoes.ask([2], 105 * MS);
  assert.deepEqual(asked.splice(0), ["198.18.1.2", "198.19.1.2"]);
  echoes.ask([3, 2, 9], 110 * MS);
  assert.deepEqual(asked, ["198.18.1.3", "198.18.1.2", "198.19.1.2"]);
  assert.deepEqual(await answers(), [
    [2, 110 * MS],
    [3, 110 * MS],
  ]);
  echoes.close();
  assert.ok(isClosed());
});

test("an answer tells when its question was sent, and a late one takes nothing back", async () => {
  const waiting: ((isAnswered: boolean) => void)[] = [];
  const { echoes, answers } = stage(async () => new Promise((resolve) => waiting.push(resolve)));
  echoes.ask([3], 100 * MS);
  echoes.ask([3], 110 * MS);
  waiting[1]?.(true);
  assert.deepEqual(await answers(), [[3, 110 * MS]]);
  waiting[0]?.(true);
  assert.deepEqual(await answers(), [[3, 110 * MS]]);
});

test("silence on all addresses and a network that can't be reached are no answers, one address is enough", async () => {
  const silent = stage(async () => false);
  silent.echoes.ask([2], 100 * MS);
  assert.deepEqual(await silent.answers(), []);
  const partly = stage(async ({ text }) => {
    if (text.startsWith("198.19")) return true;
    throw new Error("no way there");
  });
  partly.echoes.ask([2, 3], 100 * MS);
  assert.deepEqual(await partly.answers(), [[2, 100 * MS]]);
});
