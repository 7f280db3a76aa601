import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { chooseServer, NONE, type PoolState } from "../../dlba-server/choose.ts";
import { hashBytes } from "../../dlba-server/hash.ts";

const hashOf = (text: string): number => hashBytes(Buffer.from(text), 0, Buffer.byteLength(text));

function pool(scheduling: PoolState["scheduling"], weights: readonly number[]): PoolState {
  return {
    scheduling,
    tokenIndex: new Map(weights.map((_, index) => [`token${index}`, index])),
    servers: weights.map((weight, index) => ({
      weight,
      seed: hashOf(`web${index}`),
      downUntil_ms: 0,
      roundRobin: 0,
    })),
  };
}

function shares(state: PoolState, requests: number): number[] {
  const counts = state.servers.map(() => 0);
  for (let i = 0; i < requests; i++) counts[chooseServer(state, "", hashOf(`/path/${i}`), [], 0)]!++;
  return counts.map((count) => count / requests);
}

test("a cookie's web server is chosen whatever the weights say, even with weight 0", () => {
  const state = pool("cookie", [5, 1, 0]);
  for (let i = 0; i < 20; i++) {
    assert.equal(chooseServer(state, "token1", 0, [], 0), 1);
    assert.equal(chooseServer(state, "token2", 0, [], 0), 2);
  }
});

test("clients without a cookie, or with a forged one, are spread exactly by weight", () => {
  const state = pool("cookie", [3, 2, 1, 0]);
  const counts = [0, 0, 0, 0];
  for (let i = 0; i < 600; i++) counts[chooseServer(state, i % 2 === 0 ? "" : "forged", 0, [], 0)]!++;
  assert.deepEqual(counts, [300, 200, 100, 0]);
});

test("the web server of a cookie is passed over while it is down, and taken again after", () => {
  const state = pool("cookie", [1, 1]);
  state.servers[0]!.downUntil_ms = 1000;
  assert.equal(chooseServer(state, "token0", 0, [], 500), 1);
  assert.equal(chooseServer(state, "token0", 0, [], 1000), 0);
});

test("when all are passed over, the one whose time is up first is tried; none twice for one request", () => {
  const state = pool("cookie", [1, 1, 1]);
  state.servers[0]!.downUntil_ms = 3000;
  state.servers[1]!.downUntil_ms = 2000;
  state.servers[2]!.downUntil_ms = 2500;
  assert.equal(chooseServer(state, "", 0, [], 0), 1);
  assert.equal(chooseServer(state, "", 0, [1], 0), 2);
  assert.equal(chooseServer(state, "token1", 0, [1, 2], 0), 0);
  assert.equal(chooseServer(state, "", 0, [0, 1, 2], 0), NONE);
});

test("URLs are spread by weight within a tenth", () => {
  const weights = [1, 2, 3, 4];
  shares(pool("url-hash", weights), 40_000).forEach((share, index) => {
    const ideal = weights[index]! / 10;
    assert.ok(
      Math.abs(share / ideal - 1) < 0.1,
      `web${index} has ${share} of the URLs, its weight says ${ideal}`,
    );
  });
});

test("a URL's web server depends on the URL alone: not on the time, the order or what came before", () => {
  const state = pool("url-hash", [1, 1, 1]);
  fc.assert(
    fc.property(fc.string(), fc.nat(), (url, now_ms) => {
      const first = chooseServer(pool("url-hash", [1, 1, 1]), "", hashOf(url), [], 0);
      assert.equal(chooseServer(state, "token0", hashOf(url), [], now_ms), first);
    }),
  );
});

test("when a web server goes, only its own URLs move; when one comes, they move to it alone", () => {
  const small = pool("url-hash", [1, 1, 1, 1]);
  const large = pool("url-hash", [1, 1, 1, 1, 1]);
  let moved = 0;
  for (let i = 0; i < 10_000; i++) {
    const hash = hashOf(`/asset/${i}.js`);
    const before = chooseServer(small, "", hash, [], 0);
    const after = chooseServer(large, "", hash, [], 0);
    if (before === after) continue;
    assert.equal(after, 4);
    moved++;
  }
  assert.ok(moved > 1600 && moved < 2400, `${moved} of 10000 URLs moved to the fifth web server`);
});
