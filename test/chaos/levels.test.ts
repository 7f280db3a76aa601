import assert from "node:assert/strict";
import { test } from "node:test";
import { type Levels, risen } from "./levels.ts";

const level = (part: Partial<Levels> = {}): Levels => ({
  memory_bytes: 1 << 30,
  descriptors: 400,
  sockets: 300,
  mapped_bpf: 60,
  pins: 90,
  ...part,
});

test("what goes up and down by a little is level; what the first sample had less does not count", () => {
  const samples = [level({ memory_bytes: 1 << 28, pins: 1 })];
  for (let i = 0; i < 9; i++)
    samples.push(level({ descriptors: 400 + (i % 3) * 5, mapped_bpf: 60 + (i % 2) }));
  assert.deepEqual(risen(samples), []);
});

test("what rises is told by its name", () => {
  const samples = Array.from({ length: 12 }, (_, i) =>
    level({ descriptors: 400 + i * 10, pins: 90 + (i >> 2) }),
  );
  assert.deepEqual(risen(samples), ["descriptors rose from 410 to 480", "pins rose from 90 to 92"]);
  const heavy = Array.from({ length: 6 }, (_, i) => level({ memory_bytes: 2 ** 30 * (1 + i / 4) }));
  assert.match(risen(heavy).join(), /^memory_bytes rose/);
});
