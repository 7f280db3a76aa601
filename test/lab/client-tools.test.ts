import assert from "node:assert/strict";
import { test } from "node:test";
import { parseAnswers, parseWrk, tally } from "../../lab/client-tools.ts";
import { countsBetween, parseCounts } from "../../lab/frames.ts";

test("curl's lines are read: answers, kept connections, no answer at all", () => {
  const text = "200\t1\tweb2\t198.18.1.3\tDLBA=abc; Path=/\n200\t0\tweb2\t198.18.1.3\t\n000\t0\t\t\t\n";
  assert.deepEqual(parseAnswers(text), [
    { status: 200, new_connections: 1, web: "web2", node_address: "198.18.1.3", cookie: "DLBA=abc" },
    { status: 200, new_connections: 0, web: "web2", node_address: "198.18.1.3", cookie: "" },
    { status: 0, new_connections: 0, web: "", node_address: "", cookie: "" },
  ]);
});

const GOOD_REPORT = `Running 3s test @ http://198.18.0.100:80/10k
  30146 requests in 3.01s, 301.31MB read
Requests/sec:  10006.12
Transfer/sec:    100.01MB
`;

test("wrk's report is read, with and without errors", () => {
  const good = { requests: 30_146, requests_per_second: 10_006.12, bad_answers: 0, socket_errors: 0 };
  assert.deepEqual(parseWrk(GOOD_REPORT), good);
  const errors =
    "  Socket errors: connect 1, read 20, write 300, timeout 4000\n  Non-2xx or 3xx responses: 17\n";
  assert.deepEqual(parseWrk(GOOD_REPORT + errors), { ...good, bad_answers: 17, socket_errors: 4321 });
});

function element(from: string, to: string, packets: number, bytes: number): object {
  return { elem: { val: { concat: [from, to] }, counter: { packets, bytes } } };
}

function listing(...elem: object[]): string {
  const sets = [{ set: { name: "to_vip", elem } }, { set: { name: "from_vip" } }];
  return JSON.stringify({ nftables: [{ metainfo: {} }, ...sets] });
}

test("the switch's counts are read, and compared", () => {
  const before = parseCounts(listing(element("client", "node1", 10, 600), element("node1", "node2", 4, 240)));
  const after = parseCounts(
    listing(
      element("client", "node1", 15, 900),
      element("node1", "node2", 4, 240),
      element("node1", "node3", 2, 9),
    ),
  );
  assert.deepEqual(countsBetween(before, after), {
    to_vip: [
      { from: "client", to: "node1", frames: 5, bytes: 300 },
      { from: "node1", to: "node3", frames: 2, bytes: 9 },
    ],
    from_vip: [],
  });
});

test("values are counted in their order", () => {
  assert.deepEqual(Object.entries(tally(["b", "a", "b"])), [
    ["a", 1],
    ["b", 2],
  ]);
});
