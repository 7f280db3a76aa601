/** W3C Trace Context: what is valid goes on untouched, what isn't begins a new trace where the vserver wants that. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { createEngine, fieldsOf, testEnv } from "./recorder-port.ts";

const IDS = "4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7";
const MADE = "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01";

/** What a web server gets of a request with these lines. */
function sent(lines: string, addsTraceparent = true) {
  const engine = createEngine({ env: testEnv({ addsTraceparent }) });
  engine.client(`GET / HTTP/1.1\r\nHost: a\r\n${lines}\r\n`);
  const fields = fieldsOf(engine.lastRequest);
  return {
    parent: fields.get("traceparent"),
    state: fields.get("tracestate"),
    noted: engine.state.traceparent,
  };
}

describe("a valid traceparent goes on untouched, and its state", () => {
  for (const value of [`00-${IDS}-01`, `00-${IDS}-00`, `00-${IDS}-ff`, `01-${IDS}-01`, `cc-${IDS}-01-more`]) {
    it(value, () => {
      const lines = `Traceparent: ${value}\r\ntracestate: a=b\r\n`;
      assert.deepEqual(sent(lines), { parent: [value], state: ["a=b"], noted: value });
    });
  }
});

describe("in the place of any other a new trace begins, without state", () => {
  const rows = [
    "",
    "traceparent: \r\n",
    `traceparent: 00-${IDS}-0\r\n`,
    `traceparent: 00-${IDS}-01-more\r\n`,
    `traceparent: ff-${IDS}-01\r\n`,
    `traceparent: 00-${IDS.toUpperCase()}-01\r\n`,
    `traceparent: 00-${"0".repeat(32)}-00f067aa0ba902b7-01\r\n`,
    `traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-${"0".repeat(16)}-01\r\n`,
    `traceparent: 00-${IDS}-01\r\ntraceparent: 00-${IDS}-01\r\n`,
    `traceparent: cc-${IDS}-01-${"x".repeat(300)}\r\n`,
  ];
  for (const lines of rows) {
    it(JSON.stringify(lines).slice(0, 90), () => {
      const result = sent(`${lines}tracestate: a=b\r\n`);
      assert.deepEqual(result, { parent: [MADE], state: undefined, noted: MADE });
    });
  }
});

it("nothing is touched where the vserver doesn't look after it", () => {
  assert.deepEqual(sent("traceparent: nonsense\r\ntracestate: a=b\r\n", false), {
    parent: ["nonsense"],
    state: ["a=b"],
    noted: "",
  });
});
