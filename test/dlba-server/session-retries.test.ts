/** When a request is given to another web server after the first one had it: only when it is safe, and in the budget. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { retryRules } from "../../dlba-server/pools/retry-rules.ts";
import type { PoolConfig } from "../../conf/schema.ts";
import {
  createEngine,
  OK,
  statuses,
  testEnv,
  testPool,
  type Engine,
  type EngineOptions,
} from "./recorder-port.ts";

const GET = "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n";
const POST = "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4\r\n\r\n";
const BUSY = "HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy";

type Retries = NonNullable<PoolConfig["retries"]>;
const USUAL: Retries = { most: 2, on: ["closed"], budget_percent: 20, budget_least_per_second: 10 };

function engine(change: Partial<Retries>, options: EngineOptions = {}): Engine {
  const retries = retryRules({ retries: { ...USUAL, ...change } });
  return createEngine({ env: testEnv({ pools: [testPool({ retries })] }), ...options });
}
const servers = ({ record }: Engine): number[] => record.exchanges.map(({ server }) => server);
const answers = ({ record }: Engine): number[] => statuses(record.toClient);

describe("a web server that closes without an answer", () => {
  it("is left for as many others as may be asked, and no more", () => {
    const one = engine({ most: 1 });
    one.client(GET);
    one.serverEnd();
    one.serverEnd();
    assert.deepEqual([servers(one), answers(one)], [[0, 1], [502]]);
  });

  it("is not left when that is not wanted, or when the budget has nothing left", () => {
    for (const one of [engine({ on: [] }), engine({ most: 0 }), engine({}, { budget: 0 })]) {
      one.client(GET);
      one.serverEnd();
      assert.deepEqual([servers(one), answers(one)], [[0], [502]]);
    }
  });

  it("is asked anew without a budget when its connection was an old one", () => {
    const one = engine({ most: 0, on: [] }, { hasIdle: true, budget: 0 });
    one.client(GET);
    one.serverEnd();
    one.server(OK);
    assert.deepEqual([servers(one), answers(one)], [[0, 0], [200]]);
  });
});

describe("a response that does not come in time", () => {
  it("costs a 504 unless another one may be asked", () => {
    const one = engine({});
    one.client(GET);
    one.timeout();
    assert.deepEqual([servers(one), answers(one)], [[0], [504]]);
    const other = engine({ on: ["timeout"] });
    other.client(GET);
    other.timeout();
    other.server(OK);
    assert.deepEqual([servers(other), answers(other)], [[0, 1], [200]]);
    assert.equal(other.record.exchanges[0]!.isReusable, false);
    assert.deepEqual(other.record.counts.slice(0, 2), ["request 0 1", "failure 0"]);
  });

  it("is not waited for elsewhere when some of it has come, or the request may not be sent twice", () => {
    const begun = engine({ on: ["timeout"] });
    begun.client(GET);
    begun.server("HTTP/1.1 200");
    begun.timeout();
    assert.deepEqual([servers(begun), answers(begun)], [[0], [504]]);
    const post = engine({ on: ["timeout"] });
    post.client(`${POST}body`);
    post.timeout();
    assert.deepEqual([servers(post), answers(post)], [[0], [504]]);
  });
});

describe("a response with a status of the list", () => {
  it("goes to nobody, and another one is asked", () => {
    const one = engine({ on: ["503"] });
    one.client(GET);
    one.server(BUSY);
    one.server(OK);
    assert.deepEqual([servers(one), answers(one)], [[0, 1], [200]]);
    assert.ok(!one.record.toClient.includes("busy"));
    assert.match(one.record.toClient, /DLBA=t1/, "the cookie names who has answered");
    assert.equal(one.record.exchanges[0]!.isReusable, false);
    assert.deepEqual(one.record.counts, ["request 0 1", "failure 0", "request 1 1", "response 1 200"]);
  });

  it("is the client's when all others have said so, too, or there is none, or no budget", () => {
    const all = engine({ on: ["503"], most: 5 });
    all.client(GET);
    for (let i = 0; i < 3; i++) all.server(BUSY);
    assert.deepEqual([servers(all), answers(all)], [[0, 1, 2], [503]]);
    assert.ok(all.record.toClient.endsWith("busy"));
    const alone = engine({ on: ["503"] }, { servers: 1 });
    alone.client(GET);
    alone.server(BUSY);
    assert.ok(alone.record.toClient.endsWith("busy"));
    const poor = engine({ on: ["503"] }, { budget: 0 });
    poor.client(GET);
    poor.server(BUSY);
    assert.ok(poor.record.toClient.endsWith("busy"));
  });

  it("is the client's when it is another one, or the request may not be sent twice", () => {
    const other = engine({ on: ["502"] });
    other.client(GET);
    other.server(BUSY);
    assert.deepEqual([servers(other), answers(other)], [[0], [503]]);
    const post = engine({ on: ["503"] });
    post.client(`${POST}body`);
    post.server(BUSY);
    assert.deepEqual([servers(post), answers(post)], [[0], [503]]);
    const hinted = engine({ on: ["503"] });
    hinted.client(GET);
    hinted.server("HTTP/1.1 103 Early Hints\r\n\r\n");
    hinted.server(BUSY);
    assert.deepEqual(answers(hinted), [103, 503]);
  });

  it("in however many pieces it comes", () => {
    for (let cut = 1; cut < BUSY.length; cut++) {
      const one = engine({ on: ["503"] });
      one.client(GET);
      one.server(BUSY.slice(0, cut));
      if (one.record.exchanges.length === 1) one.server(BUSY.slice(cut));
      one.server(OK);
      assert.deepEqual([servers(one), answers(one)], [[0, 1], [200]], `cut at ${cut}`);
    }
  });
});

describe("a request that has to wait", () => {
  it("goes on when its turn comes", () => {
    const one = engine({}, { isBusy: true });
    one.client(`${POST}body`);
    assert.deepEqual([one.record.waits, servers(one)], [1, []]);
    one.turn();
    assert.ok(one.lastRequest.endsWith("\r\n\r\nbody"));
    one.server(OK);
    assert.deepEqual(answers(one), [200]);
  });

  it("gets 503 when its time is up, when too many wait, and when it has taken too long as a whole", () => {
    for (const end of ["timeout", "overdue"] as const) {
      const one = engine({}, { isBusy: true });
      one.client(GET);
      one[end]();
      assert.deepEqual([answers(one), one.record.end], [[503], ""]);
      one.turn();
      assert.deepEqual(servers(one), [], "a late turn is nobody's");
    }
    const crowded = engine({}, { isBusy: true, isRoomFull: true });
    crowded.client(GET);
    assert.deepEqual([answers(crowded), crowded.record.end], [[503], ""]);
  });

  it("is gone with its client", () => {
    const one = engine({}, { isBusy: true });
    one.client(GET);
    one.clientLost();
    one.turn();
    assert.deepEqual([servers(one), one.record.toClient], [[], ""]);
  });
});

describe("a request as a whole", () => {
  it("that takes too long: 504, 408 while the client sends, a cut when its response has begun", () => {
    const waiting = engine({});
    waiting.client(GET);
    waiting.overdue();
    assert.deepEqual([answers(waiting), waiting.record.end], [[504], ""]);
    const sending = engine({});
    sending.client(`${POST}bo`);
    sending.overdue();
    assert.deepEqual([answers(sending), sending.record.end], [[408], "closed"]);
    const begun = engine({});
    begun.client(GET);
    begun.server("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n");
    begun.overdue();
    assert.equal(begun.record.end, "aborted");
    const connecting = engine({}, { isConnectHeld: true });
    connecting.client(GET);
    connecting.overdue();
    assert.deepEqual(answers(connecting), [504]);
  });

  it("between two requests nothing is overdue", () => {
    const one = engine({});
    one.client(GET);
    one.server(OK);
    one.overdue();
    assert.deepEqual([answers(one), one.record.end], [[200], ""]);
  });
});

it("a worker that has too much to do says 503, and closes", () => {
  const one = engine({}, { isShedding: true });
  one.client(GET);
  assert.deepEqual([answers(one), one.record.end], [[503], "closed"]);
  assert.match(one.record.toClient, /Connection: close/);
});
