/** What two processes that hand a node over say to each other. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { exchange } from "../../../cli/upgrade/exchange.ts";
import {
  type FromSuccessor,
  offerOf,
  readFromPredecessor,
  readFromSuccessor,
} from "../../../cli/upgrade/messages.ts";

const WITHIN_MS = 10_000;
const SERVING: FromSuccessor = { kind: "serving" };

test("an offer numbers the sockets as who gets it has them, place by place", () => {
  const offer = offerOf(
    new Map([
      ["192.0.2.10 80", [31, 17]],
      ["2001:db8::10 443", [9]],
    ]),
    4,
  );
  assert.deepEqual(offer, {
    kind: "offer",
    protocol: 1,
    places: [
      { key: "192.0.2.10 80", fds: [4, 5] },
      { key: "2001:db8::10 443", fds: [6] },
    ],
  });
  assert.deepEqual(readFromPredecessor(structuredClone(offer)), offer);
});

test("what is not understood is none of the messages", () => {
  const wrong = [undefined, null, 7, "yours", {}, { kind: "x" }, { kind: "yours", more: 1 }];
  for (const message of [...wrong, { kind: "offer", protocol: 2, places: [] }]) {
    assert.equal(readFromPredecessor(message), undefined);
  }
  const unbounded = { kind: "prepared", workers: 1, places: Array.from({ length: 5000 }, String) };
  for (const message of [...wrong, unbounded, { kind: "prepared", places: [], workers: 0 }]) {
    assert.equal(readFromSuccessor(message), undefined);
  }
});

test("messages are taken in order, whether they come before or after they are waited for", async () => {
  const talk = exchange<FromSuccessor>("the other");
  talk.hear({ kind: "prepared", places: [], workers: 2 });
  assert.equal((await talk.next("prepared", WITHIN_MS)).workers, 2);
  const next = talk.next("serving", WITHIN_MS);
  talk.hear(SERVING);
  assert.deepEqual(await next, SERVING);
});

test("another message, silence and an end each fail, and say so", async () => {
  const wrong = exchange<FromSuccessor>("the other");
  wrong.hear(SERVING);
  await assert.rejects(wrong.next("running", WITHIN_MS), {
    code: "UPGRADE_FAILED",
    message: "the other says what it must not",
  });
  await assert.rejects(
    exchange<FromSuccessor>("the other").next("running", 1),
    /does not answer within 1 ms/,
  );
  const gone = exchange<FromSuccessor>("the other");
  const waiting = gone.next("running", WITHIN_MS);
  gone.fail("has ended");
  gone.fail("and this is not the reason");
  await assert.rejects(waiting, /the other has ended$/);
  await assert.rejects(gone.next("running", WITHIN_MS), /the other has ended$/);
});
