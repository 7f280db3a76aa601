/** Packages of other versions are installed over a loaded node, forth and back, and no request fails. Needs root. */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { Machine } from "./machine.ts";
import { buildPackage, type PackagedLab, packagedLab } from "./packaged-lab.ts";

const WITHIN_MS = 60_000;
const OLD = "0.1.0~1";
const NEW = "0.1.0~2";
/** Longer than an installation takes; what matters is that it goes on until after it. */
const LOAD_S = 12;

async function eventually(what: string, isSo: () => Promise<boolean>): Promise<void> {
  const deadline_ms = performance.now() + WITHIN_MS;
  while (!(await isSo())) {
    assert.ok(performance.now() < deadline_ms, `waited for ${what}`);
    await sleep(100);
  }
}

describe("a loaded node whose package is exchanged", () => {
  let lab: PackagedLab;
  let machine: Machine;
  const debs = new Map<string, string>();
  const property = async (name: string): Promise<string> =>
    (await machine.good(`systemctl show -P ${name} dlba`)).trim();
  const install = async (version: string): Promise<string> =>
    machine.good(`apt-get install -qq --allow-downgrades ./given/${debs.get(version)}`);

  before(async () => {
    lab = await packagedLab();
    for (const version of [OLD, NEW]) debs.set(version, await buildPackage(lab.given, version));
    machine = await lab.machine("node1");
    await install(OLD);
    await machine.good(
      "dlba init --vip 192.0.2.10 --web-server 192.0.2.21:8080 --web-server 192.0.2.22:8080",
    );
    await machine.good("systemctl start dlba");
    const ask = "curl -s -m 5 -o /dev/null -w '%{http_code}' http://192.0.2.10/100b";
    await eventually("an answer", async () => (await lab.client(ask)) === "200");
  });
  after(async () => lab?.down());

  test("serves on through an upgrade and a downgrade: the version changes, the data plane stays, systemd follows", async () => {
    const wrk = `wrk -t1 -c16 -d${LOAD_S}s --timeout 30s`;
    const loads = [
      lab.client(`${wrk} http://192.0.2.10/100b`),
      lab.client(`${wrk} -H 'Connection: close' http://192.0.2.10/100b`),
    ];
    // Each is the same object for as long as it has the same inode: nothing was made anew.
    const pins = "ls -i /sys/fs/bpf/dlba/link-0 /sys/fs/bpf/dlba/buckets /sys/fs/bpf/dlba/lease";
    const [plane, first] = [await machine.good(pins), await property("MainPID")];
    const said = await install(NEW);
    assert.match(said, /this node runs version 0\.1\.0~2 now \(before: 0\.1\.0~1\)/);
    const second = await property("MainPID");
    assert.notEqual(second, first);
    assert.match(await install(OLD), /this node runs version 0\.1\.0~1 now \(before: 0\.1\.0~2\)/);
    const third = await property("MainPID");
    assert.notEqual(third, second);
    assert.equal(await machine.good(pins), plane, "link and maps are the same all the time");
    for (const load of loads) {
      const text = await load;
      assert.match(text, /[1-9]\d* requests in/);
      assert.doesNotMatch(text, /Socket errors|Non-2xx/);
    }
    assert.deepEqual(
      [await property("ActiveState"), await property("NRestarts"), await property("MainPID")],
      ["active", "0", third],
    );
    await eventually("the processes of before to end", async () => {
      const supervisors = await machine.good("pgrep -u dlba -f cli/main.ts");
      return supervisors.trim() === third;
    });
  });

  test("systemd knows the process that leads now: its end is noticed, and its service stops in order", async () => {
    const leader = await property("MainPID");
    await machine.good(`kill -KILL ${leader}`);
    await eventually("another process", async () => {
      const [pid, state] = [await property("MainPID"), await property("ActiveState")];
      return pid !== leader && pid !== "0" && state === "active";
    });
    await machine.good("systemctl stop dlba");
    assert.equal(await property("Result"), "success");
    assert.equal((await machine.sh("pgrep -u dlba")).stdout, "");
  });
});
