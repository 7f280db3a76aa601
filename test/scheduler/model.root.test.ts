/** The XDP program against a slow model of it: 100,000 frames at random, in a network namespace of their own. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { randomInt } from "node:crypto";
import { join } from "node:path";
import { test } from "node:test";

const FRAMES = 100_000;
/** Of these, some dozens must have been met: else the frames at random test less than they seem to. */
const OFTEN =
  "truncated not_ip other_mac standby other_protocol no_vserver from_scheduler from_member fragment_held " +
  "icmp_unowned no_node claimed followed icmp_error first_fragment later_fragment second_chance in_doubt searched not_here arp_answered " +
  "neighbour_answered heartbeat_answered heartbeat_heard heartbeat_refused";

test("program and model agree on random frames and tables, byte for byte", (t) => {
  const seed = randomInt(2 ** 31);
  t.diagnostic(`seed ${seed}`);
  const script = join(import.meta.dirname, "model-process.ts");
  const args = ["--net", process.execPath, script, String(seed), String(FRAMES)];
  const { stdout, stderr, status } = spawnSync("unshare", args, { encoding: "utf8" });
  assert.equal(status, 0, stderr);
  const { frames, counted }: { frames: number; counted: Record<string, number> } = JSON.parse(stdout);
  assert.equal(frames, FRAMES);
  for (const reason of OFTEN.split(" "))
    assert.ok((counted[reason] ?? 0) >= 40, `${reason}: ${counted[reason]}`);
});
