/**
 * Arrays in which one rule is missing. Each must be found out: a simulator that lets them pass would prove nothing. The
 * rule is taken away from outside, by what the elector is told or by what is made of its words.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Elector, ElectorActions, ElectorInput, PeerFacts } from "../../failover/elector.ts";
import { tick } from "../../failover/elector.ts";
import { HEARTBEAT_HEARS, HEARTBEAT_LEASED } from "../../net/heartbeat.ts";
import { isScheduling, kernelRules } from "./kernel.ts";
import { calmPlanOf, planOf, type FaultKind, type Plan } from "./plan.ts";
import { run, soundRules } from "./run.ts";
import type { Rules } from "./world.ts";

const RUNS = 400;

interface Broken {
  readonly rules: Partial<Rules>;
  readonly plan: (seed: number) => Plan;
  readonly found: readonly string[];
}

const plansOf =
  (...kinds: FaultKind[]) =>
  (seed: number): Plan =>
    planOf({ seed, steps: 1 + (seed % 5), kinds });

/** The elector with other facts. */
const told = (change: (input: ElectorInput, elector: Elector) => ElectorInput): Partial<Rules> => ({
  tick: (elector, input) => tick(elector, change(input, elector)),
});
/** The elector with other deeds. */
const done = (change: (actions: ElectorActions) => ElectorActions): Partial<Rules> => ({
  tick: (elector, input) => {
    const { state, actions } = tick(elector, input);
    return { state, actions: change(actions) };
  },
});

function withRows(input: ElectorInput, change: (row: PeerFacts["rows"][number]) => object): ElectorInput {
  const peers = input.peers.map(({ number, rows }) => ({
    number,
    rows: rows.map((row) => ({ ...row, ...change(row) })),
  }));
  return { ...input, peers };
}

const BROKEN: Readonly<Record<string, Broken>> = {
  "the program answers without a lease": {
    rules: { kernel: { ...kernelRules, isAnswering: isScheduling } },
    plan: plansOf("stall-failover", "crash-failover"),
    found: ["answers-alone", "both-answer", "unsettled"],
  },
  "the program believes an earlier epoch": {
    rules: {
      kernel: {
        ...kernelRules,
        takeNews: (kernel, question) => {
          if ((question.flags & HEARTBEAT_LEASED) !== 0 && question.asker === question.epoch % 256)
            kernel.page.epoch = question.epoch;
        },
      },
    },
    plan: plansOf("partition", "isolate", "one-way"),
    found: ["epoch"],
  },
  "nobody heeds a later epoch": {
    rules: {
      kernel: { ...kernelRules, takeNews: () => undefined },
      ...told((input, { role }) => {
        const own = role.kind === "scheduling" ? role.epoch : Infinity;
        return withRows(input, ({ epoch }) => ({ epoch: Math.min(epoch, own) }));
      }),
    },
    plan: plansOf("partition", "isolate"),
    found: ["both-answer", "unsettled"],
  },
  "a scheduler renews after a stall without looking round": {
    rules: told((input, { role }) => {
      const until_ns = role.kind === "scheduling" ? Infinity : input.page.until_ns;
      return { ...input, page: { ...input.page, until_ns } };
    }),
    plan: plansOf("stall-failover", "stall-user", "stall-machine"),
    found: ["renewed-blindly"],
  },
  "after a stall of its own a node gives answers no chance": {
    rules: {
      tick: (elector, input) => {
        const { state, actions } = tick(elector, input);
        const { role } = state;
        if (role.kind !== "following" && role.kind !== "contending") return { state, actions };
        const links = role.watch.links.map((link) => ({ ...link, chances: 0, chanceUntil_ns: 0 }));
        return { state: { ...state, role: { ...role, watch: { ...role.watch, links } } }, actions };
      },
    },
    plan: (seed) => ({ ...calmPlanOf({ seed, steps: 8, nodes: 2 }), loss: 0 }),
    found: ["needless"],
  },
  "no second opinion is asked for": {
    rules: told((input) => withRows(input, ({ flags }) => ({ flags: flags & ~HEARTBEAT_HEARS }))),
    plan: plansOf("cut", "one-way"),
    found: ["needless"],
  },
  "the VIPs are announced only once": {
    rules: done((actions) => {
      const isFirst = actions.events.some(({ kind }) => kind === "claims" || kind === "resumes");
      return { ...actions, announce: actions.announce && isFirst };
    }),
    plan: plansOf("partition", "isolate", "loss"),
    found: ["stale-cache"],
  },
  "a node takes over that is not fit to": {
    rules: told((input) => ({
      ...input,
      own: { ...input.own, hasCarrier: true, hasProgram: true, schedulerTurned_ns: input.now_ns },
    })),
    plan: plansOf("no-carrier", "no-program"),
    found: ["claimed-unfit", "unsettled"],
  },
  "an epoch is not later than those before": {
    rules: {
      tick: (elector, input) => {
        const { state, actions } = tick(elector, input);
        if (actions.raise === undefined || actions.until_ns === 0) return { state, actions };
        const to = 256 + elector.settings.number;
        const role = { kind: "scheduling", epoch: to } as const;
        return { state: { ...state, role }, actions: { ...actions, raise: { ...actions.raise, to } } };
      },
    },
    plan: plansOf("crash-machine", "partition"),
    found: ["epoch", "unsettled", "both-answer"],
  },
  "a lease is longer than it may be": {
    rules: done((actions) => ({ ...actions, until_ns: actions.until_ns * 2 })),
    plan: plansOf("stall-failover"),
    found: ["lease"],
  },
};

for (const [name, { rules, plan, found }] of Object.entries(BROKEN)) {
  test(`found out: ${name}`, () => {
    for (let seed = 1; seed <= RUNS; seed++) {
      const { violation } = run(plan(seed), { ...soundRules, ...rules });
      if (violation === undefined) continue;
      assert.ok(found.includes(violation.kind), `${violation.kind}: ${violation.text}`);
      return;
    }
    assert.fail(`no run of ${RUNS} has found it`);
  });
}
