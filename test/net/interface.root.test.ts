/** What the kernel says of an interface, in a network of the test's own. Needs root. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { openCarrier } from "../../net/interface.ts";
import { enterOwnNetwork, ip } from "./network-namespace.ts";

enterOwnNetwork();
ip("link add near type veth peer name far");

test("an interface has a carrier while both ends of its cable are up, and none when it is gone", (t) => {
  const carrier = openCarrier("near");
  t.after(() => carrier.close());
  const seen: boolean[] = [];
  for (const words of ["near up", "far up", "far down", "far up", "near down", "near up"]) {
    ip(`link set ${words}`);
    seen.push(carrier.hasCarrier());
  }
  assert.deepEqual(seen, [false, true, false, true, false, true]);
  ip("link del near");
  assert.equal(carrier.hasCarrier(), false);
});
