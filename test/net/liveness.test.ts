import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { newSentTimes, SENT_KEPT, type SentTimes } from "../../net/heartbeat-memory.ts";
import { judge, newLiveness, type Liveness, type LivenessSettings } from "../../net/liveness.ts";

const ns = (ms: number): number => Math.round(ms * 1e6);
const settings: LivenessSettings = { heartbeat_ns: ns(20), dead_after_ns: ns(100) };

interface Sent {
  readonly sent_ms: number;
  readonly handed_ms: number;
}
function timesOf(heartbeats: readonly Sent[]): SentTimes {
  const times = newSentTimes();
  for (const { sent_ms, handed_ms } of heartbeats.slice(-SENT_KEPT)) {
    times.sent_ns[times.count] = ns(sent_ms);
    times.handed_ns[times.count++] = ns(handed_ms);
  }
  return times;
}

/** What one peer goes through, in ms. */
interface Course {
  readonly sends: readonly Sent[];
  /** What the kernel had noted when. */
  readonly notes: readonly { readonly at_ms: number; readonly sent_ms: number }[];
  readonly looks: readonly number[];
}
/** The verdict of each look. */
function run(
  course: Course,
  first: Liveness = newLiveness(),
): { now_ms: number; phase: Liveness["phase"] }[] {
  let state = first;
  return course.looks.map((now_ms) => {
    const noted = course.notes.filter(({ at_ms }) => at_ms <= now_ms).map(({ sent_ms }) => ns(sent_ms));
    const sent = timesOf(course.sends.filter(({ handed_ms }) => handed_ms <= now_ms));
    state = judge(state, { now_ns: ns(now_ms), sent, answered_ns: Math.max(0, ...noted) }, settings).state;
    return { now_ms, phase: state.phase };
  });
}
const every = (step: number, from: number, to: number): number[] =>
  Array.from({ length: Math.floor((to - from) / step) + 1 }, (_, i) => from + i * step);
const sendsAt = (times: readonly number[]): Sent[] => times.map((at) => ({ sent_ms: at, handed_ms: at }));
const answersTo = (times: readonly number[]) => times.map((at) => ({ at_ms: at + 0.2, sent_ms: at }));
/** The phases as they followed each other, with the time of each change. */
function changes(verdicts: ReturnType<typeof run>): string[] {
  let former = "";
  return verdicts.flatMap(({ now_ms, phase }) => {
    const text = phase === former ? [] : [`${phase}@${now_ms}`];
    former = phase;
    return text;
  });
}

test("a peer is unknown at first, reachable after two answers in a row, silent when it has stopped", () => {
  const sends = every(20, 1000, 1600);
  const course = {
    sends: sendsAt(sends),
    notes: answersTo(sends.filter((at) => at <= 1200)),
    looks: every(10, 1005, 1600),
  };
  assert.deepEqual(changes(run(course)), ["unknown@1005", "reachable@1025", "silent@1305"]);
});

test("a silent peer is back after two answers in a row, not after two of which a third between was lost", () => {
  const sends = every(20, 1000, 1300);
  const course = (answered: readonly number[]) => ({
    sends: sendsAt(sends),
    notes: answersTo(answered),
    looks: every(10, 1005, 1300),
  });
  const silent = newLiveness("silent");
  assert.deepEqual(changes(run(course([1100, 1120]), silent)), [
    "silent@1005",
    "reachable@1125",
    "silent@1225",
  ]);
  assert.deepEqual(changes(run(course([1100, 1140, 1180]), silent)), ["silent@1005"]);
});

test("an answer to the next heartbeat that comes after the verdict does not make up for those before", () => {
  const sends = every(20, 1000, 1400);
  const notes = [...answersTo([1000, 1020]), { at_ms: 1200, sent_ms: 1040 }];
  const course = { sends: sendsAt(sends), notes, looks: every(10, 1005, 1400) };
  assert.deepEqual(changes(run(course)), ["unknown@1005", "reachable@1025", "silent@1125"]);
});

test("a peer that is not asked, or whom nothing reaches, is not judged silent", () => {
  const asked = every(20, 1000, 1040);
  const looks = every(10, 1005, 3000);
  const reachable = newLiveness("reachable");
  assert.deepEqual(changes(run({ sends: [], notes: [], looks }, reachable)), ["reachable@1005"]);
  // Then nothing more could be sent: two unanswered heartbeats are not enough, however old.
  const course = { sends: sendsAt(asked), notes: answersTo([1000]), looks };
  assert.deepEqual(changes(run(course, reachable)), ["reachable@1005"]);
});

test("what an earlier process was answered counts as nothing", () => {
  const sends = every(20, 1000, 1200);
  const notes = [{ at_ms: 0, sent_ms: 990 }];
  const course = { sends: sendsAt(sends), notes, looks: every(10, 1005, 1200) };
  assert.deepEqual(changes(run(course)), ["unknown@1005", "silent@1085"]);
});

test("after a stall of its own the judge takes in the page first, and gives peers time", () => {
  const sends = [1000, 1020, 1040, 1060, 1080, 1400, 1420];
  const course = (noted_ms: number) => ({
    sends: sendsAt(sends),
    notes: [...answersTo([1000]), { at_ms: noted_ms, sent_ms: 1080 }],
    looks: [1005, 1015, 1025, 1035, 1045, 1055, 1065, 1075, 1400, 1410, 1419, 1420, 1430],
  });
  const reachable = newLiveness("reachable");
  assert.deepEqual(changes(run(course(1418), reachable)), ["reachable@1005"]);
  assert.deepEqual(changes(run(course(9999), reachable)), ["reachable@1005", "silent@1420"]);
});

test("a judge that keeps stalling finds a dead peer all the same", () => {
  const sends = every(20, 1000, 2000);
  const course = { sends: sendsAt(sends), notes: answersTo([1000]), looks: every(35, 1005, 2000) };
  assert.deepEqual(changes(run(course, newLiveness("reachable"))), ["reachable@1005", "silent@1180"]);
});

/**
 * A machine and a peer at random. Times of a running machine are drawn; while the machine stands still nothing is
 * sent, noted or judged, and all of it comes after.
 */
interface Draw {
  readonly gaps: readonly number[];
  readonly sendStalls: readonly boolean[];
  readonly handing: readonly number[];
  readonly delays: readonly number[];
  readonly lost: readonly boolean[];
  readonly lookGaps: readonly number[];
  readonly lookStalls: readonly boolean[];
  readonly freezes: readonly { readonly at_ms: number; readonly for_ms: number }[];
}
const LENGTH = 120;
const list = <T>(value: fc.Arbitrary<T>): fc.Arbitrary<T[]> =>
  fc.array(value, { minLength: LENGTH, maxLength: LENGTH });
const rarely = (weight: number): fc.Arbitrary<boolean> =>
  fc.oneof({ arbitrary: fc.constant(false), weight }, { arbitrary: fc.constant(true), weight: 1 });
const ms = (least: number, most: number): fc.Arbitrary<number> =>
  fc
    .integer({ min: Math.round(least * 100), max: Math.round(most * 100) })
    .map((hundredth) => hundredth / 100);
const draws: fc.Arbitrary<Draw> = fc.record({
  gaps: list(ms(20, 28)),
  sendStalls: list(rarely(10)),
  handing: list(ms(0, 1)),
  delays: list(ms(0.05, 19.99)),
  lost: list(fc.boolean()),
  lookGaps: list(ms(8, 15)),
  lookStalls: list(rarely(10)),
  // Shorter ones than a stall are no different from a late answer, and those are drawn already.
  freezes: fc.array(fc.record({ at_ms: ms(0, 2000), for_ms: ms(31, 400) }), { maxLength: 6 }),
});

/** No more than two in a row. */
const bounded = (lost: readonly boolean[]): boolean[] => {
  let inRow = 0;
  return lost.map((isLost) => {
    inRow = isLost && inRow < 2 ? inRow + 1 : 0;
    return inRow > 0;
  });
};
const sums = (gaps: readonly number[], from: number): number[] => {
  let at = from;
  return gaps.map((gap) => (at += gap));
};

const stalled = (gaps: readonly number[], stalls: readonly boolean[]): number[] =>
  gaps.map((gap, i) => (stalls[i] ? gap + 60 : gap));

function courseOf(draw: Draw, diesAfter: number): Course & { died_ms: number; ends_ms: number } {
  // Time of the machine's own running to the clock's.
  const clock = (at: number): number =>
    1000 + at + draw.freezes.filter(({ at_ms }) => at_ms < at).reduce((sum, { for_ms }) => sum + for_ms, 0);
  const sends = sums(stalled(draw.gaps, draw.sendStalls), 0);
  const lost = bounded(draw.lost);
  const answered = sends.map((at, i) => ({ at, i })).filter(({ i }) => !lost[i] && i <= diesAfter);
  const looks = sums(stalled(draw.lookGaps, draw.lookStalls), 5);
  return {
    sends: sends.map((at, i) => ({ sent_ms: clock(at), handed_ms: clock(at + draw.handing[i]!) })),
    notes: answered.map(({ at, i }) => ({
      at_ms: clock(at + draw.handing[i]! + draw.delays[i]!),
      sent_ms: clock(at),
    })),
    looks: looks.map(clock),
    died_ms: Math.max(0, ...answered.map(({ at }) => clock(at))),
    ends_ms: Math.min(clock(sends.at(-1)!), clock(looks.at(-1)!)),
  };
}

test("no false alarm while answers come within 20 ms and at most two in a row are lost, whatever stands still", () => {
  fc.assert(
    fc.property(draws, (draw) => {
      const verdicts = run(courseOf(draw, LENGTH));
      assert.deepEqual(
        verdicts.filter(({ phase }) => phase === "silent"),
        [],
      );
    }),
    { numRuns: 500 },
  );
});

test("a peer that has died is found within 150 ms of its last answer, whatever was lost before", () => {
  const never = Array.from({ length: LENGTH }, () => false);
  const running = draws.map((draw) => ({ ...draw, freezes: [], lookStalls: never, sendStalls: never }));
  fc.assert(
    fc.property(running, fc.integer({ min: 5, max: 30 }), (draw, diesAfter) => {
      const { died_ms, ...course } = courseOf(draw, diesAfter);
      const found = run(course).find(({ phase }) => phase === "silent");
      assert.ok(found !== undefined && found.now_ms - died_ms <= 150, `${(found?.now_ms ?? 0) - died_ms} ms`);
    }),
    { numRuns: 500 },
  );
});

test("a dead peer stays silent, and is found even by a process that stalls again and again", () => {
  fc.assert(
    fc.property(draws, fc.integer({ min: 5, max: 20 }), (draw, diesAfter) => {
      const { died_ms, ends_ms, ...course } = courseOf(draw, diesAfter);
      const verdicts = run(course).filter(({ now_ms }) => now_ms <= ends_ms);
      const found = verdicts.findIndex(({ phase }) => phase === "silent");
      assert.ok(found >= 0 && verdicts[found]!.now_ms > died_ms);
      assert.ok(verdicts.slice(found).every(({ phase }) => phase === "silent"));
    }),
    { numRuns: 300 },
  );
});
