import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { allHold } from "../../../dlba-server/rules/conditions.ts";
import { askedOf, rulesOf } from "./asked.ts";

type AskedPart = Parameters<typeof askedOf>[0];

/** Whether a condition holds of a request. */
function holds(condition: Record<string, unknown>, asked: AskedPart): boolean {
  const { conditions } = rulesOf({ when: [condition], deny: {} }).list[0]!;
  return allHold(conditions, askedOf(asked));
}

describe("conditions", () => {
  const rows: [condition: Record<string, unknown>, asked: AskedPart, isMet: boolean][] = [
    [{ of: "host", exact: ["API.test"] }, { host: "api.test" }, true],
    [{ of: "host", exact: ["api.test"] }, { host: "xapi.test" }, false],
    [{ of: "host", suffix: [".api.test"] }, { host: "v1.api.test" }, true],
    [{ of: "host", suffix: [".api.test"] }, { host: "api.test" }, false],
    [{ of: "host", prefix: ["www."] }, { host: "www.x" }, true],
    [{ of: "path", prefix: ["/api/"] }, { path: "/api/x" }, true],
    [{ of: "path", prefix: ["/api/"] }, { path: "/api" }, false],
    [{ of: "path", exact: ["/a", "/b"] }, { path: "/b" }, true],
    [{ of: "path", suffix: [".png", ".svg"] }, { path: "/x.svg" }, true],
    [{ of: "path", regex: ["^/v[0-9]+/"] }, { path: "/v12/x" }, true],
    [{ of: "path", regex: ["^/v[0-9]+/"] }, { path: "/x/v12/" }, false],
    [{ of: "path", exact: ["/x"], prefix: ["/a/"], regex: ["z$"] }, { path: "/qz" }, true],
    [{ of: "path", exact: ["/caf\u00e9"] }, { path: "/caf\u00c3\u00a9" }, true],
    [{ of: "path", prefix: ["/a"], not: true }, { path: "/a" }, false],
    [{ of: "path", prefix: ["/a"], not: true }, { path: "/b" }, true],
    [{ of: "method", exact: ["POST", "PUT"] }, { method: "PUT" }, true],
    [{ of: "method", exact: ["POST"] }, { method: "post" }, false],
    [{ of: "header", name: "X-Beta" }, { headers: { "x-beta": "" } }, true],
    [{ of: "header", name: "X-Beta" }, {}, false],
    [{ of: "header", name: "X-Beta", not: true }, {}, true],
    [{ of: "header", name: "X-Beta", exact: ["1"] }, { headers: { "x-beta": "1" } }, true],
    [{ of: "header", name: "X-Beta", exact: ["1"] }, { headers: { "x-beta": "1, 1" } }, false],
    [{ of: "header", name: "X-Beta", exact: ["1"], not: true }, {}, true],
    [
      { of: "header", name: "User-Agent", regex: ["(bot|crawl)"] },
      { headers: { "user-agent": "a bot" } },
      true,
    ],
    [{ of: "query", name: "debug" }, { query: "?a=1&debug" }, true],
    [{ of: "query", name: "debug" }, { query: "?debugger=1" }, false],
    [{ of: "query", name: "debug" }, { query: "?" }, false],
    [{ of: "query", name: "debug" }, { query: "" }, false],
    [{ of: "query", name: "v", exact: ["a b"] }, { query: "?v=a+b" }, true],
    [{ of: "query", name: "v", exact: ["a b"] }, { query: "?%76=a%20b" }, true],
    [{ of: "query", name: "v", exact: ["2"] }, { query: "?v=1&v=2" }, true],
    [{ of: "query", name: "v", exact: ["2"], not: true }, { query: "?v=1&v=2" }, false],
    [{ of: "query", name: "v", exact: ["%zz"] }, { query: "?v=%zz" }, true],
    [{ of: "query", name: "v", exact: [""] }, { query: "?v=" }, true],
    [{ of: "client", in: ["192.0.2.0/25"] }, { ip: "192.0.2.1" }, true],
    [{ of: "client", in: ["192.0.2.0/25"] }, { ip: "192.0.2.200" }, false],
    [{ of: "client", in: ["2001:db8::/32", "10.0.0.0/8"] }, { ip: "10.1.2.3" }, true],
    [{ of: "client", in: ["2001:db8::/32"] }, { ip: "2001:db8:1::1" }, true],
    [{ of: "client", in: ["10.0.0.0/8"], not: true }, { ip: "192.0.2.1" }, true],
  ];
  for (const [condition, asked, isMet] of rows) {
    it(`${JSON.stringify(condition)} and ${JSON.stringify(asked)}: ${isMet}`, () => {
      assert.equal(holds(condition, asked), isMet);
    });
  }
});
