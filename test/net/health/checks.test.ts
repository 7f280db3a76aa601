import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import {
  nextDue_ms,
  startChecks,
  takeDue,
  takeResult,
  type CheckResult,
  type HealthChange,
} from "../../../net/health/checks.ts";

const settings = { interval_ms: 1000, rise: 2, fall: 3 };
const RESULTS: Readonly<Record<string, CheckResult>> = {
  "+": { kind: "good" },
  "-": { kind: "bad", reason: "connection refused" },
  "?": { kind: "unsure", reason: "too many open files" },
};

/** What results make of a host: its state after each of them, changes in capitals. */
function transcript(results: string): string {
  let checks = startChecks([7], settings, 0);
  return results
    .split("")
    .map((result) => {
      const turn = takeResult(checks, 7, RESULTS[result]!);
      checks = turn.checks;
      const state = checks.hosts.get(7)!.state;
      if (turn.change !== undefined) assert.equal(turn.change.isUp, state === "up");
      return turn.change === undefined ? state : state.toUpperCase();
    })
    .join(" ");
}

test("the first check decides by itself", () => {
  assert.equal(transcript("+"), "UP");
  assert.equal(transcript("-"), "DOWN");
});

test("a host is down after so many failures in a row, and up after so many good checks in a row", () => {
  assert.equal(transcript("+--+---"), "UP up up up up up DOWN");
  assert.equal(transcript("-+-++-"), "DOWN down down down UP up");
});

test("a check that could not be made says nothing, and its reason is shown", () => {
  assert.equal(transcript("??+"), "starting starting UP");
  assert.equal(transcript("+--?-"), "UP up up up DOWN");
  const { checks } = takeResult(startChecks([7], settings, 0), 7, RESULTS["?"]!);
  assert.equal(checks.hosts.get(7)?.reason, "too many open files");
});

test("a change says why, and a host that is well has no reason", () => {
  const down = takeResult(startChecks([7], settings, 0), 7, RESULTS["-"]!);
  assert.deepEqual(down.change, { host: 7, isUp: false, reason: "connection refused" });
  const one = takeResult(down.checks, 7, RESULTS["+"]!);
  const two = takeResult(one.checks, 7, RESULTS["+"]!);
  assert.deepEqual(two.change, { host: 7, isUp: true, reason: "" });
});

test("a result of a host that is no longer checked is passed over", () => {
  const checks = startChecks([7], settings, 0);
  assert.deepEqual(takeResult(checks, 8, RESULTS["-"]!), { checks, change: undefined });
});

/** Runs checks that take `takes_ms`, with a process that looks when it is due, but not in its stalls. */
function run(
  hosts: number,
  interval_ms: number,
  takes_ms: number,
  until_ms: number,
  stalls: readonly (readonly [number, number])[] = [],
): { host: number; at_ms: number }[] {
  const asked: { host: number; at_ms: number }[] = [];
  const running: { host: number; end_ms: number }[] = [];
  let checks = startChecks([...Array(hosts).keys()], { ...settings, interval_ms }, 0);
  let now_ms = 0;
  for (;;) {
    const next_ms = Math.max(now_ms, Math.min(nextDue_ms(checks), running[0]?.end_ms ?? Infinity));
    const stall = stalls.find(([from, to]) => from < next_ms && next_ms < to);
    now_ms = stall?.[1] ?? next_ms;
    if (now_ms > until_ms) return asked;
    while (running[0] !== undefined && running[0].end_ms <= now_ms) {
      checks = takeResult(checks, running.shift()!.host, RESULTS["+"]!).checks;
    }
    const turn = takeDue(checks, now_ms);
    checks = turn.checks;
    if (turn.host === undefined) continue;
    asked.push({ host: turn.host, at_ms: now_ms });
    running.push({ host: turn.host, end_ms: now_ms + takes_ms });
  }
}

test("hosts are checked one after the other, each once in an interval", () => {
  const asked = run(4, 1000, 10, 2400);
  assert.deepEqual(
    asked.map(({ host, at_ms }) => `${host}@${at_ms}`),
    ["0@0", "1@250", "2@500", "3@750", "0@1000", "1@1250", "2@1500", "3@1750", "0@2000", "1@2250"],
  );
});

test("with a long interval the first checks are made within a second", () => {
  const asked = run(4, 60_000, 10, 61_000);
  assert.deepEqual(
    asked.map(({ host, at_ms }) => `${host}@${at_ms}`),
    ["0@0", "1@250", "2@500", "3@750", "1@15000", "2@30000", "3@45000", "0@60000"],
  );
});

test("a host is not checked again while it is being checked", () => {
  assert.deepEqual(
    run(1, 100, 250, 1000).map(({ at_ms }) => at_ms),
    [0, 250, 500, 750, 1000],
  );
});

test("after a stall checks are made up for without a burst", () => {
  const asked = run(4, 1000, 10, 4100, [[1100, 2600]]).filter(({ at_ms }) => at_ms > 1100);
  assert.deepEqual(
    asked.map(({ host, at_ms }) => `${host}@${at_ms}`),
    ["1@2600", "2@2725", "3@2850", "0@2975", "1@3250", "2@3500", "3@3750", "0@4000"],
  );
});

test("however many hosts, whatever the interval and the stalls, checks are spread and none is forgotten", () => {
  const stall = fc
    .tuple(fc.nat({ max: 4000 }), fc.nat({ max: 1500 }))
    .map(([at, long]) => [at, at + long] as const);
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 20 }),
      fc.integer({ min: 100, max: 1000 }),
      fc.integer({ min: 0, max: 90 }),
      fc.array(stall, { maxLength: 2 }),
      (hosts, interval_ms, takes_ms, stalls) => {
        const asked = run(hosts, interval_ms, takes_ms, 8000, stalls);
        asked.slice(1).forEach(({ at_ms }, i) => {
          assert.ok(at_ms - asked[i]!.at_ms >= interval_ms / hosts / 2 - 1e-6);
        });
        for (let host = 0; host < hosts; host++) {
          const own = asked.filter((one) => one.host === host).map(({ at_ms }) => at_ms);
          const idle = own.filter((at_ms) => at_ms > 7500 - interval_ms);
          assert.ok(idle.length > 0, `host ${host} was last checked at ${own.at(-1)}`);
        }
      },
    ),
    { numRuns: 200 },
  );
});

test("whatever the results, changes alternate, and follow only on enough results in a row", () => {
  fc.assert(
    fc.property(fc.array(fc.constantFrom("+", "-", "?")), (results) => {
      let checks = startChecks([7], settings, 0);
      const changes: HealthChange[] = [];
      const sure: string[] = [];
      for (const result of results) {
        const turn = takeResult(checks, 7, RESULTS[result]!);
        checks = turn.checks;
        if (result !== "?") sure.push(result);
        if (turn.change === undefined) continue;
        assert.notEqual(turn.change.isUp, changes.at(-1)?.isUp);
        const needed = changes.length === 0 ? 1 : turn.change.isUp ? settings.rise : settings.fall;
        assert.ok(sure.slice(-needed).every((one) => one === (turn.change!.isUp ? "+" : "-")));
        changes.push(turn.change);
      }
      assert.equal(changes.length === 0, sure.length === 0);
    }),
  );
});
