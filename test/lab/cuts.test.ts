import assert from "node:assert/strict";
import { test } from "node:test";
import { sideRules } from "../../lab/cuts.ts";

test("frames of each side to any other one are dropped, and no others", () => {
  assert.deepEqual(
    sideRules([["node1", "client"], ["node2"], ["node3"]])
      .trim()
      .split("\n"),
    [
      'add rule bridge dlba_cuts sides iifname { "node1", "client" } oifname { "node2", "node3" } drop',
      'add rule bridge dlba_cuts sides iifname { "node2" } oifname { "node1", "client", "node3" } drop',
      'add rule bridge dlba_cuts sides iifname { "node3" } oifname { "node1", "client", "node2" } drop',
    ],
  );
});

test("one side alone, or one with nobody on it, cuts nothing", () => {
  assert.equal(sideRules([["node1", "node2"]]), "");
  assert.equal(sideRules([["node1", "node2"], []]), "");
  assert.equal(sideRules([]), "");
});

test("nobody is on two sides", () => {
  assert.throws(() => sideRules([["node1"], ["node2", "node1"]]), { code: "LAB_IMPOSSIBLE" });
});
