import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { randomWords } from "../../conf/random.ts";
import {
  boundTo,
  chooseServer,
  newServerState,
  NONE,
  noteResponse,
  type PoolState,
} from "../../dlba-server/choose.ts";
import { hashBytes } from "../../dlba-server/hash.ts";
import { ANY, createWaitingRoom, takeSeat } from "../../dlba-server/pools/waiting-room.ts";
import { CHOICE } from "../../dlba-server/session-port.ts";

const NO_KEY = 0;
const hashOf = (text: string): number => hashBytes(Buffer.from(text), 0, Buffer.byteLength(text)) || 1;

/** The key of a request for this URL. */
const keyOf = ({ scheduling }: PoolState, url: string): number =>
  scheduling === "url-hash" ? hashOf(url) : NO_KEY;

function pool(
  scheduling: PoolState["scheduling"],
  weights: readonly number[],
  change: Partial<PoolState> = {},
): PoolState {
  return {
    scheduling,
    balance: "round-robin",
    slowStart_ms: 0,
    loadFactor: 0,
    room: undefined,
    random: randomWords(1),
    tokenIndex: new Map(weights.map((_, index) => [`token${index}`, index])),
    servers: weights.map((weight, index) => newServerState(weight, hashOf(`web${index}`))),
    ...change,
  };
}

function shares(state: PoolState, requests: number): number[] {
  const counts = state.servers.map(() => 0);
  for (let i = 0; i < requests; i++) {
    counts[chooseServer(state, "", keyOf(state, `/path/${i}`), [], 0)]!++;
  }
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

/** Sends requests that stay under way; returns how many each web server has then. */
function fill(state: PoolState, requests: number, now_ms = 0): number[] {
  for (let i = 0; i < requests; i++)
    state.servers[chooseServer(state, "", keyOf(state, `/${i}`), [], now_ms)]!.load++;
  return state.servers.map(({ load }) => load);
}

test("least-connections levels what is under way by weight, whatever it was before", () => {
  const state = pool("cookie", [1, 2, 1], { balance: "least-connections" });
  state.servers[0]!.load = 10;
  assert.deepEqual(fill(state, 30), [10, 20, 10]);
  const equal = pool("cookie", [1, 1, 1], { balance: "least-connections" });
  const chosen = [0, 1, 2].map(() => chooseServer(equal, "", 0, [], 0));
  assert.deepEqual(new Set(chosen), new Set([0, 1, 2]), "among equals one after the other");
});

test("least-response-time prefers who answers soon and has little to do", () => {
  const state = pool("cookie", [1, 1], { balance: "least-response-time" });
  for (let i = 0; i < 50; i++) {
    noteResponse(state.servers[0]!, 10);
    noteResponse(state.servers[1]!, 30);
  }
  const [soon = 0, late = 0] = fill(state, 40);
  assert.deepEqual([soon, late], [30, 10]);
  const fresh = pool("cookie", [1, 1], { balance: "least-response-time" });
  noteResponse(fresh.servers[0]!, 1);
  assert.equal(chooseServer(fresh, "", 0, [], 0), 1, "one that is not known yet is tried");
});

test("random-of-two keeps loads closer than chance does, and follows weights", () => {
  const state = pool("cookie", [1, 1, 1, 1], { balance: "random-of-two" });
  const loads = fill(state, 4000);
  assert.ok(Math.max(...loads) - Math.min(...loads) < 40, loads.join(" "));
  const weighted = fill(pool("cookie", [3, 1], { balance: "random-of-two" }), 4000);
  assert.ok(weighted[0]! > 2700 && weighted[0]! < 3300, weighted.join(" "));
});

test("first takes the first one that is up", () => {
  const state = pool("cookie", [1, 1, 1], { balance: "first" });
  assert.equal(chooseServer(state, "", 0, [], 0), 0);
  state.servers[0]!.downUntil_ms = 5;
  assert.equal(chooseServer(state, "", 0, [], 0), 1);
  assert.equal(chooseServer(state, "", 0, [1], 0), 2);
});

const BALANCES = [
  "round-robin",
  "least-connections",
  "least-response-time",
  "random-of-two",
  "first",
] as const;

test("backups get requests only while no other web server is up, and those whose cookie names them", () => {
  for (const [scheduling, balance] of [
    ...BALANCES.map((balance) => ["cookie", balance] as const),
    ["url-hash", "round-robin"] as const,
  ]) {
    const state = pool(scheduling, [1, 1, 1], { balance });
    const servers = [newServerState(1, 1, true), newServerState(1, 2), newServerState(1, 3)];
    const withBackup = { ...state, servers };
    const all = (now_ms: number): Set<number> =>
      new Set(
        Array.from({ length: 60 }, (_, i) => chooseServer(withBackup, "", keyOf(state, `/${i}`), [], now_ms)),
      );
    assert.ok(!all(0).has(0), balance);
    if (scheduling === "cookie") assert.equal(chooseServer(withBackup, "token0", 0, [], 0), 0);
    for (const server of servers.slice(1)) server.downUntil_ms = 10;
    assert.deepEqual(all(5), new Set([0]), balance);
    servers[0]!.downUntil_ms = 8;
    assert.deepEqual(all(5), new Set([1]), "all are away: backups last");
    assert.ok(!all(10).has(0));
  }
});

test("a web server that is back gets its share bit by bit", () => {
  const state = pool("cookie", [1, 1], { slowStart_ms: 10_000 });
  state.servers[1]!.upSince_ms = 1000;
  const shareAt = (now_ms: number): number => {
    let count = 0;
    for (let i = 0; i < 1100; i++) count += chooseServer(state, "", 0, [], now_ms);
    return count / 1100;
  };
  assert.ok(Math.abs(shareAt(1000) - 0.1 / 1.1) < 0.01);
  assert.ok(Math.abs(shareAt(6000) - 0.5 / 1.5) < 0.01);
  assert.ok(Math.abs(shareAt(11_000) - 0.5) < 0.01);
});

test("with a load factor a URL everybody wants is spread, and others stay", () => {
  const state = pool("url-hash", [1, 1, 1, 1], { loadFactor: 1.25 });
  const free = pool("url-hash", [1, 1, 1, 1]);
  const hash = hashOf("/hot");
  const loads = [0, 0, 0, 0];
  for (let i = 0; i < 100; i++) {
    const chosen = chooseServer(state, "", hash, [], 0);
    state.servers[chosen]!.load++;
    loads[chosen]!++;
  }
  assert.ok(Math.max(...loads) <= Math.ceil(1.25 * 25.25), loads.join(" "));
  for (const server of state.servers) server.load = 0;
  for (let i = 0; i < 200; i++) {
    const other = hashOf(`/cold/${i}`);
    assert.equal(chooseServer(state, "", other, [], 0), chooseServer(free, "", other, [], 0));
  }
});

test("who is away is never chosen, not even when nobody else is there; nor is who drains", () => {
  for (const scheduling of ["cookie", "url-hash"] as const) {
    const state = pool(scheduling, [1, 1, 0]);
    state.servers[0]!.isAway = true;
    for (let i = 0; i < 20; i++) assert.equal(chooseServer(state, "token0", hashOf(`/${i}`), [], 0), 1);
    assert.equal(chooseServer(state, "", 7, [1], 0), NONE);
  }
});

test("who is left out for a while is tried only when all others have been", () => {
  const state = pool("cookie", [1, 1]);
  state.servers[0]!.ejectedUntil_ms = 100;
  for (let i = 0; i < 4; i++) assert.equal(chooseServer(state, "token0", 0, [], 99), 1);
  assert.equal(chooseServer(state, "", 0, [1], 99), 0);
  assert.equal(chooseServer(state, "token0", 0, [], 100), 0);
});

test("who is full is waited for by his own sessions, by others only when all are full; backups stay out of it", () => {
  const room = createWaitingRoom<number>(10);
  const servers = [0, 1].map((index) => newServerState(1, index, false, 1));
  const state = pool("cookie", [], {
    room,
    servers: [...servers, newServerState(1, 9, true)],
    tokenIndex: new Map([["token0", 0]]),
  });
  servers[0]!.load = 1;
  assert.deepEqual([chooseServer(state, "token0", 0, [], 0), boundTo], [CHOICE.full, 0]);
  assert.equal(chooseServer(state, "", 0, [], 0), 1);
  servers[1]!.load = 1;
  assert.deepEqual([chooseServer(state, "", 0, [], 0), boundTo], [CHOICE.full, ANY]);
  servers[0]!.isAway = servers[1]!.isAway = true;
  assert.equal(chooseServer(state, "", 0, [], 0), 2);
});

test("nobody passes those who wait, but who is called", () => {
  const room = createWaitingRoom<number>(10);
  const servers = [0, 1].map((index) => newServerState(1, index, false, 1));
  const state = pool("cookie", [], { room, servers, tokenIndex: new Map([["token0", 0]]) });
  takeSeat(room, ANY, "someone", 1, 0);
  assert.equal(chooseServer(state, "", 0, [], 0), CHOICE.full);
  assert.equal(chooseServer(state, "token0", 0, [], 0), CHOICE.full);
  assert.notEqual(chooseServer(state, "", 0, [], 0, true), CHOICE.full);
  assert.equal(chooseServer(state, "token0", 0, [], 0, true), 0);
});

/** How many of the keys each web server gets, and whom each key leads to. */
function spread(state: PoolState, keys: number): { counts: number[]; owners: number[] } {
  const counts = state.servers.map(() => 0);
  const owners = Array.from({ length: keys }, (_, i) => chooseServer(state, "", hashOf(`/key/${i}`), [], 0));
  for (const owner of owners) counts[owner]!++;
  return { counts, owners };
}

test("100,000 keys on 2 to 32 web servers: no web server has more than 1.25 times the mean", () => {
  for (const count of [2, 3, 5, 8, 16, 32]) {
    const weights = Array.from({ length: count }, () => 1);
    const { counts } = spread(pool("url-hash", weights), 100_000);
    const ratio = Math.max(...counts) / (100_000 / count);
    assert.ok(ratio <= 1.25, `${count} web servers: ${ratio}`);
  }
});

test("by weight, too", () => {
  const weights = [1, 1, 2, 3, 5, 8];
  const { counts } = spread(pool("url-hash", weights), 100_000);
  counts.forEach((keys, i) => {
    const ratio = keys / ((100_000 * weights[i]!) / 20);
    assert.ok(ratio <= 1.25 && ratio >= 0.75, `web${i}: ${ratio}`);
  });
});

test("when a web server comes or goes, no more than its share of the keys and 5 % of it moves", () => {
  for (const count of [2, 3, 5, 8, 16, 32]) {
    const weights = Array.from({ length: count }, (_, i) => 1 + (i % 3));
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    const before = spread(pool("url-hash", weights), 100_000).owners;
    const after = spread(pool("url-hash", weights.slice(0, -1)), 100_000).owners;
    const moved = before.filter((owner, i) => owner !== after[i]).length;
    const share = weights.at(-1)! / total;
    assert.ok(
      moved <= 100_000 * (share + 0.05),
      `${count} web servers: ${moved} keys moved, the share is ${share}`,
    );
    assert.ok(
      before.every((owner, i) => owner === after[i] || owner === count - 1),
      "others' keys stay",
    );
  }
});

test("a change of weight moves keys to or from that web server alone", () => {
  const before = spread(pool("url-hash", [1, 1, 1, 1]), 20_000).owners;
  const after = spread(pool("url-hash", [1, 1, 1, 2]), 20_000).owners;
  assert.ok(before.every((owner, i) => owner === after[i] || after[i] === 3));
});

test("a key sticks in a pool by cookie, too, and without one it goes by balance", () => {
  const state = pool("cookie", [1, 1, 1]);
  const first = chooseServer(state, "", hashOf("session 1"), [], 0);
  for (let i = 0; i < 10; i++) assert.equal(chooseServer(state, "", hashOf("session 1"), [], 0), first);
  assert.equal(chooseServer(state, "token2", hashOf("session 1"), [], 0), 2, "the cookie goes before");
  const byHash = pool("url-hash", [1, 1, 1]);
  const chosen = new Set([0, 1, 2].map(() => chooseServer(byHash, "", NO_KEY, [], 0)));
  assert.equal(chosen.size, 3);
});
