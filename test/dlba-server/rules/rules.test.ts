/** What rules decide, beside an interpreter of the same configuration that knows no compiling and no shortcuts. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import * as fc from "fast-check";
import { cidrContains, parseCidr } from "../../../conf/address.ts";
import type { Asked } from "../../../dlba-server/rules/conditions.ts";
import { compileRules, decide } from "../../../dlba-server/rules/rules.ts";
import { askedOf, POOLS, rulesOf } from "./asked.ts";

const unlimited = (): number => 0;

describe("the first rule that decides ends the rules", () => {
  const rules = rulesOf(
    { when: [{ of: "path", prefix: ["/api/"] }], response_headers: { set: [{ name: "X-Api", value: "1" }] } },
    { when: [{ of: "path", exact: ["/api/secret"] }], deny: { status: 404 } },
    {
      when: [
        { of: "method", exact: ["POST"], not: true },
        { of: "path", prefix: ["/api/"] },
      ],
      pool: "api",
    },
    { redirect: { to: "https://{host}{path}{query}", status: 308 } },
  );
  const decided = (asked: Parameters<typeof askedOf>[0]) => {
    const { rule, pool, responseEdits } = decide(rules, askedOf(asked), unlimited);
    return [rule, pool, responseEdits?.text];
  };

  it("by deny, by pool, by redirect", () => {
    assert.deepEqual(decided({ path: "/api/secret" }), [1, 0, "X-Api: 1\r\n"]);
    assert.deepEqual(decided({ path: "/api/x" }), [2, 1, "X-Api: 1\r\n"]);
    assert.deepEqual(decided({ path: "/api/x", method: "POST" }), [3, 0, "X-Api: 1\r\n"]);
    assert.deepEqual(decided({ path: "/" }), [3, 0, undefined]);
  });
});

it("goes to the vserver's pool when no rule decides", () => {
  const rules = rulesOf({ when: [{ of: "path", exact: ["/x"] }], pool: "api" });
  const { rule, pool } = decide(rules, askedOf({}), unlimited);
  assert.deepEqual([rule, pool], [-1, 0]);
});

it("makes nothing of no rules", () => {
  const parts = { name: "v", poolIndex: () => -1, readPage: () => "" };
  assert.equal(compileRules([], parts), null);
});

const line = (name: string, value: string) => ({ name, value });

describe("changes add up in order", () => {
  const rows: [name: string, edits: object[], removed: string[], text: string][] = [
    ["set, then set", [{ set: [line("X-A", "1")] }, { set: [line("x-a", "2")] }], ["x-a"], "x-a: 2\r\n"],
    ["add, then add", [{ add: [line("A", "1")] }, { add: [line("A", "2")] }], [], "A: 1\r\nA: 2\r\n"],
    ["add, then remove", [{ add: [line("A", "1")] }, { remove: ["a"] }], ["a"], ""],
    ["remove, then add", [{ remove: ["a"] }, { add: [line("A", "1")] }], ["a"], "A: 1\r\n"],
    ["set twice in one", [{ set: [line("A", "1"), line("A", "2")] }], ["a"], "A: 2\r\n"],
    [
      "all in one",
      [{ remove: ["B_b"], set: [line("A", "1")], add: [line("A", "2")] }],
      ["b-b", "a"],
      "A: 1\r\nA: 2\r\n",
    ],
  ];
  for (const [name, edits, removed, text] of rows) {
    it(name, () => {
      const rules = rulesOf(...edits.map((request_headers) => ({ request_headers })));
      const { requestEdits } = decide(rules, askedOf({}), unlimited);
      assert.deepEqual([requestEdits?.removed, requestEdits?.text], [removed, text]);
    });
  }
});

describe("limits", () => {
  const rules = rulesOf(
    { when: [{ of: "path", prefix: ["/a"] }], rate_limit: { requests: 1, per_s: 1 } },
    { rate_limit: { requests: 5, per_s: 1 }, pool: "api" },
    { rate_limit: { requests: 5, per_s: 1 } },
  );
  it("count only requests that get to their rule", () => {
    const counted: number[] = [];
    const take = (rule: number): number => {
      counted.push(rule);
      return 0;
    };
    decide(rules, askedOf({ path: "/b" }), take);
    decide(rules, askedOf({ path: "/a" }), take);
    assert.deepEqual(counted, [1, 0, 1]);
  });

  it("end the rules when they are reached", () => {
    const { rule, retry_ms, pool } = decide(rules, askedOf({ path: "/a" }), (rule) => (rule === 1 ? 700 : 0));
    assert.deepEqual([rule, retry_ms, pool], [-1, 700, 0]);
  });
});

interface ReferenceRule {
  readonly when: readonly Record<string, unknown>[];
  readonly deny?: object | undefined;
  readonly redirect?: object | undefined;
  readonly pool?: string | undefined;
}

/** Everything read off the configuration each time, by other means than the compiled rules have. */
function reference(rules: readonly ReferenceRule[], asked: Asked): { rule: number; pool: number } {
  const rule = rules.findIndex((rule) => rule.when.every((condition) => isTrue(condition, asked)));
  const pool = rules[rule]?.pool;
  return { rule, pool: pool === undefined ? 0 : POOLS.indexOf(pool) };
}

function isTrue(condition: Record<string, unknown>, asked: Asked): boolean {
  return textsOf(condition, asked).some((text) => isFound(condition, text)) !== (condition["not"] === true);
}

function textsOf({ of, name, in: blocks }: Record<string, unknown>, asked: Asked): string[] {
  if (of === "client") {
    const inside = (blocks as string[]).some((block) => cidrContains(parseCidr(block)!, asked.client!));
    return inside ? ["inside"] : [];
  }
  if (of === "query") return new URLSearchParams(asked.query).getAll(String(name));
  if (of === "header") return [asked.header(String(name).toLowerCase())].filter((text) => text !== undefined);
  return [asked[of as "host" | "path" | "method"]];
}

const escaped = (part: string): string => part.replace(/[^A-Za-z0-9]/g, "\\$&");

function isFound({ exact, prefix, suffix, regex }: Record<string, unknown>, text: string): boolean {
  const patterns = [
    ...((exact as string[] | undefined) ?? []).map((part) => `^${escaped(part)}$`),
    ...((prefix as string[] | undefined) ?? []).map((part) => `^${escaped(part)}`),
    ...((suffix as string[] | undefined) ?? []).map((part) => `${escaped(part)}$`),
    ...((regex as string[] | undefined) ?? []),
  ];
  if (exact === undefined && prefix === undefined && suffix === undefined && regex === undefined) return true;
  return patterns.some((pattern) => new RegExp(pattern).test(text));
}

const few = <T>(values: readonly T[]): fc.Arbitrary<T[]> =>
  fc.uniqueArray(fc.constantFrom(...values), { minLength: 1, maxLength: 3 });
const tests = (values: readonly string[], regexes: readonly string[]) =>
  fc.record(
    { exact: few(values), prefix: few(values), suffix: few(values), regex: few(regexes) },
    { requiredKeys: [] },
  );
const PATHS = ["/", "/a", "/a/b", "/b.png", "/api/v1/x"];
const HOSTS = ["a.test", "b.a.test", "test", "c"];
const VALUES = ["", "1", "1, 2", "x y"];
const REGEXES = ["^/a", "a.*t", "[0-9]", "^$", "b(\\.|$)"];
const BLOCKS = ["192.0.2.0/24", "10.0.0.0/8", "2001:db8::/32"];
const not = fc.record({ not: fc.boolean() }, { requiredKeys: [] });
const named = fc.constantFrom("n", "m");
const needing = (arbitrary: fc.Arbitrary<object>) => arbitrary.filter((test) => Object.keys(test).length > 0);
const condition = fc
  .tuple(
    fc.oneof(
      needing(tests(PATHS, REGEXES)).map((test) => Object.assign({ of: "path" }, test)),
      needing(tests(HOSTS, REGEXES)).map((test) => Object.assign({ of: "host" }, test)),
      few(["GET", "POST"]).map((exact) => ({ of: "method", exact })),
      fc
        .tuple(named, tests(VALUES, REGEXES))
        .map(([name, test]) => Object.assign({ of: "header", name }, test)),
      fc
        .tuple(named, tests(VALUES, REGEXES))
        .map(([name, test]) => Object.assign({ of: "query", name }, test)),
      few(BLOCKS).map((blocks) => ({ of: "client", in: blocks })),
    ),
    not,
  )
  .map(([one, other]) => Object.assign({}, one, other));
const action = fc.constantFrom(
  { deny: {} },
  { redirect: { to: "/x" } },
  { pool: "main" },
  { pool: "api" },
  { pool: "static" },
);
const rule = fc
  .tuple(fc.array(condition, { maxLength: 4 }), action)
  .map(([when, ends]): ReferenceRule => Object.assign({ when }, ends));
const asked = fc
  .record({
    method: fc.constantFrom("GET", "POST", "PUT"),
    host: fc.constantFrom(...HOSTS, "x"),
    path: fc.constantFrom(...PATHS, "/z"),
    query: fc.array(fc.tuple(named, fc.constantFrom(...VALUES)), { maxLength: 3 }),
    headers: fc.dictionary(named, fc.constantFrom(...VALUES), { maxKeys: 2 }),
    ip: fc.constantFrom("192.0.2.9", "10.9.9.9", "2001:db8::5", "198.51.100.1"),
  })
  .map(({ query, ...others }) => {
    const text = new URLSearchParams(query).toString();
    return askedOf({ ...others, query: text === "" ? "" : `?${text}` });
  });

it("decides as the configuration reads, whatever the rules and requests", () => {
  fc.assert(
    fc.property(fc.array(rule, { minLength: 1, maxLength: 6 }), asked, (rules, one) => {
      const { rule, pool } = decide(rulesOf(...rules), one, unlimited);
      assert.deepEqual({ rule, pool }, reference(rules, one));
    }),
    { numRuns: 3000 },
  );
});
