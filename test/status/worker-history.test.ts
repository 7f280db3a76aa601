import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { MAX_RETIRING } from "../../conf/limits.ts";
import type { WorkerReport } from "../../conf/messages.ts";
import type { Published } from "../../status/info.ts";
import { nodeStatus, sumOf, sumVservers } from "../../status/sum.ts";
import { workerHistory } from "../../status/worker-history.ts";
import { vserverCounts, webServer, worker } from "./samples.ts";

/** An answer of a worker. */
function answer(number: number, pid: number, body: WorkerReport | null): Published {
  return { hello: { process: "dlba-server", worker: number, pid }, body };
}

function historyOf(...answers: readonly Published[]) {
  const history = workerHistory();
  for (const { hello, body } of answers) if (body?.kind === "worker") history.note(hello, body);
  return history;
}

test("nobody is absent while all answer", () => {
  const round = [answer(0, 100, worker()), answer(1, 101, worker())];
  assert.deepEqual(historyOf(...round).absent(round), []);
});

test("what a worker that ended had counted counts on, and its gauges do not", () => {
  const history = historyOf(answer(0, 100, worker({ requests: 7, accepted: 3 })));
  const [ended, ...others] = history.absent([answer(0, 200, worker())]);
  assert.deepEqual(others, []);
  assert.deepEqual(ended, {
    ...worker({ requests: 7, accepted: 3 }),
    is_accepting: false,
    open_connections: 0,
    requests_waiting: 0,
    open_by_vserver: {},
    memory_bytes: 0,
    web_servers: [webServer({ open_connections: 0, active_requests: 0, waiting: 0, is_up: false })],
    vservers: [vserverCounts({ open_connections: 0 })],
  });
  const status = nodeStatus(1, [], [ended]);
  assert.deepEqual([status.hits, status.workers, status.workers_accepting], [7, 0, 0]);
  assert.deepEqual(status.web_servers, [
    webServer({ open_connections: 0, active_requests: 0, waiting: 0, is_up: false }),
  ]);
});

test("one that is silent for a while is absent so long, with what it said last", () => {
  const history = historyOf(answer(0, 100, worker({ requests: 7 })));
  assert.equal(sumOf(history.absent([answer(0, 100, null)]), "requests"), 7);
  assert.deepEqual(history.absent([answer(0, 100, worker({ requests: 8 }))]), []);
});

test("a worker that hands over to the next generation is counted once, whoever answers", () => {
  const old = answer(0, 100, worker({ requests: 7 }));
  const next = answer(0, 200, worker({ requests: 2 }));
  const history = historyOf(old, next, old, next);
  assert.deepEqual(history.absent([old, next]), []);
  assert.equal(sumOf(history.absent([next]), "requests"), 7);
  assert.equal(sumOf(history.absent([old]), "requests"), 2);
  assert.equal(sumOf(history.absent([]), "requests"), 9);
});

test("a worker that ends again and again takes no more room, and all it did is counted", () => {
  const history = workerHistory();
  for (let pid = 1; pid <= 1000; pid++) {
    const { hello } = answer(0, pid, null);
    history.note(hello, worker({ requests: 5, responses: { "2xx": 4, "5xx": 1 } }));
  }
  const absent = history.absent([]);
  assert.ok(absent.length <= MAX_RETIRING + 3);
  const status = nodeStatus(1, [], absent);
  assert.deepEqual([status.hits, status.web_servers.length], [5000, 1]);
  const [served, ...more] = sumVservers(absent.flatMap(({ vservers }) => vservers));
  assert.deepEqual([served?.requests, served?.responses[2], more.length], [104_000, 90_000, 0]);
  assert.equal(status.web_servers[0]?.hits, 100_000);
  assert.equal(
    absent.reduce((sum, { responses }) => sum + responses["5xx"]!, 0),
    1000,
  );
});

test("web servers that workers no longer have are forgotten with those who had them", () => {
  const history = workerHistory();
  for (let pid = 1; pid <= 1000; pid++) {
    const { hello } = answer(0, pid, null);
    history.note(hello, worker({ web_servers: [webServer({ id: `web${pid}` })] }));
  }
  assert.ok(nodeStatus(1, [], history.absent([])).web_servers.length <= MAX_RETIRING + 3);
});

test("counters of a node never fall, whichever workers end, hand over, fall silent and come back", () => {
  const step = fc.record({
    number: fc.nat(2),
    did: fc.constantFrom("work", "end", "hand over"),
    answers: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const history = workerHistory();
      let lastPid = 2;
      const living = [0, 1, 2].map((number) => ({ number, pid: number, requests: 0, isSilent: false }));
      let told = 0;
      for (const { number, did, answers } of steps) {
        const one = living.findLast((one) => one.number === number)!;
        one.requests += 10;
        one.isSilent = !answers;
        if (did === "hand over" && living.filter((each) => each.number === number).length > 1) {
          living.splice(
            living.findIndex((each) => each.number === number),
            1,
          );
        }
        if (did === "end") living.splice(living.indexOf(one), 1);
        if (did !== "work") living.push({ number, pid: ++lastPid, requests: 0, isSilent: false });
        const round = living.map(({ number, pid, requests, isSilent }) =>
          answer(number, pid, isSilent ? null : worker({ requests })),
        );
        for (const { hello, body } of round) if (body?.kind === "worker") history.note(hello, body);
        const bodies = round.flatMap(({ body }) => (body?.kind === "worker" ? [body] : []));
        const { hits } = nodeStatus(1, bodies, history.absent(round));
        assert.ok(hits >= told, `${hits} after ${told}`);
        told = hits;
      }
    }),
  );
});
