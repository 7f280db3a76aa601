import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  ANY,
  callBound,
  callNext,
  createWaitingRoom,
  leaveSeat,
  mustWaitBehind,
  takeSeat,
} from "../../../dlba-server/pools/waiting-room.ts";

describe("a waiting room", () => {
  it("has requests that are bound to a busy web server hold up nobody else", () => {
    const room = createWaitingRoom<string>(10);
    takeSeat(room, 0, "a", "bound to 0", 1);
    takeSeat(room, ANY, "b", "any", 2);
    assert.equal(callNext(room, 1), "any");
    assert.equal(callNext(room, 1), undefined);
    assert.equal(callNext(room, 0), "bound to 0");
    assert.equal(room.count, 0);
  });

  it("serves of bound and unbound ones whoever has waited longer, so that none starves", () => {
    const room = createWaitingRoom<string>(10);
    takeSeat(room, ANY, "a", "any 1", 1);
    takeSeat(room, 0, "b", "bound 2", 2);
    takeSeat(room, ANY, "a", "any 3", 3);
    takeSeat(room, 0, "b", "bound 4", 4);
    assert.deepEqual(
      [1, 2, 3, 4].map(() => callNext(room, 0)),
      ["any 1", "bound 2", "any 3", "bound 4"],
    );
  });

  it("is bounded over all its queues", () => {
    const room = createWaitingRoom<number>(2);
    const seat = takeSeat(room, ANY, "a", 1, 0)!;
    takeSeat(room, 3, "b", 2, 0);
    assert.equal(takeSeat(room, 4, "c", 3, 0), undefined);
    leaveSeat(room, seat);
    leaveSeat(room, seat);
    assert.notEqual(takeSeat(room, 4, "c", 3, 0), undefined);
    assert.equal(takeSeat(room, ANY, "d", 4, 0), undefined);
    assert.equal(room.count, 2);
  });

  it("lets nobody pass those who wait for the same", () => {
    const room = createWaitingRoom<string>(10);
    assert.equal(mustWaitBehind(room, ANY), false);
    const seat = takeSeat(room, 0, "a", "bound", 0)!;
    assert.deepEqual(
      [ANY, 0, 1].map((server) => mustWaitBehind(room, server)),
      [false, true, false],
    );
    takeSeat(room, ANY, "a", "any", 0);
    leaveSeat(room, seat);
    assert.deepEqual(
      [ANY, 0, 1].map((server) => mustWaitBehind(room, server)),
      [true, true, true],
    );
  });

  it("calls all who are bound to a web server that is gone", () => {
    const room = createWaitingRoom<string>(10);
    for (const value of ["a1", "a2", "b1"]) takeSeat(room, 2, value[0]!, value, 0);
    takeSeat(room, ANY, "c", "any", 0);
    assert.deepEqual(callBound(room, 2), ["a1", "b1", "a2"]);
    assert.deepEqual(callBound(room, 1), []);
    assert.equal(room.count, 1);
  });
});
