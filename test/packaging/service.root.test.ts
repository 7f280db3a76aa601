/** The package on a machine with a real systemd: the service without root, its watchdog, and its end without a trace. Needs root. */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { Machine } from "./machine.ts";
import { buildPackage, type PackagedLab, packagedLab } from "./packaged-lab.ts";

const WITHIN_MS = 60_000;
const CAPABILITIES = ["NET_BIND_SERVICE", "NET_ADMIN", "NET_RAW", "PERFMON", "BPF"];
/** capability.h */
const NUMBERS = [10, 12, 13, 38, 39];

async function eventually(what: string, isSo: () => Promise<boolean>): Promise<void> {
  const deadline_ms = performance.now() + WITHIN_MS;
  while (!(await isSo())) {
    assert.ok(performance.now() < deadline_ms, `waited for ${what}`);
    await sleep(100);
  }
}

describe("the installed service", () => {
  let lab: PackagedLab;
  let machine: Machine;
  let settings_before = "";
  const settings = async (): Promise<string> =>
    machine.good(
      "cat /proc/sys/net/core/somaxconn /proc/sys/net/ipv4/ip_local_port_range /proc/sys/net/ipv4/conf/*/arp_*; ip -br addr show lo",
    );
  const service = async (property: string): Promise<string> =>
    (await machine.good(`systemctl show -P ${property} dlba`)).trim();
  const answer = async (): Promise<string> =>
    lab.client("curl -s -m 5 -o /dev/null -w '%{http_code}' http://192.0.2.10/100b");

  before(async () => {
    lab = await packagedLab();
    const deb = await buildPackage(lab.given, "0.1.0~test");
    machine = await lab.machine("node1");
    settings_before = await settings();
    await machine.good(`apt-get install -qq ./given/${deb}`);
    await machine.good(
      "dlba init --vip 192.0.2.10 --web-server 192.0.2.21:8080 --web-server 192.0.2.22:8080",
    );
  });
  after(async () => lab?.down());

  test("its unit is one that systemd has nothing to say against, and gives away little", async () => {
    const { code, stdout, stderr } = await machine.sh("systemd-analyze verify dlba.service");
    assert.deepEqual([code, stdout + stderr], [0, ""]);
    await machine.good("systemd-analyze security --threshold=25 dlba.service");
  });

  test("serves as a user of its own, with five capabilities, under a filter of system calls", async () => {
    await machine.good("systemctl start dlba");
    assert.equal(await service("StatusText"), "serves array array");
    const status = await machine.good(`cat /proc/${await service("MainPID")}/status`);
    const expected = NUMBERS.reduce((bits, number) => bits | (1n << BigInt(number)), 0n);
    for (const set of ["CapEff", "CapBnd", "CapAmb"]) {
      const bits = BigInt(`0x${new RegExp(`${set}:\\s*([0-9a-f]+)`).exec(status)?.[1]}`);
      assert.equal(bits, expected, `${set}: ${CAPABILITIES.join(", ")}`);
    }
    const uid = (await machine.good("id -u dlba")).trim();
    assert.match(status, new RegExp(`^Uid:\\s+${uid}\\s+${uid}\\s+${uid}\\s`, "m"));
    assert.match(status, /^NoNewPrivs:\s+1$/m);
    assert.match(status, /^Seccomp:\s+2$/m);
    await eventually("an answer to the client", async () => (await answer()) === "200");
  });

  test("reloads by systemctl, and a refused reload is told", async () => {
    await machine.good("systemctl reload dlba");
    await machine.good("cp /etc/dlba/dlba.yaml /tmp/good.yaml && echo wrong: true >> /etc/dlba/dlba.yaml");
    assert.notEqual((await machine.sh("systemctl reload dlba")).code, 0);
    await machine.good("cat /tmp/good.yaml > /etc/dlba/dlba.yaml && systemctl reload dlba");
    assert.equal(await answer(), "200");
  });

  test("has its array key changed, though the system is read-only to it", async () => {
    const before = await machine.good("cat /etc/dlba/array.key");
    await machine.good("dlba key rotate");
    assert.notEqual(await machine.good("cat /etc/dlba/array.key"), before);
    assert.equal(await machine.good("stat -c '%U %a' /etc/dlba/array.key"), "dlba 600\n");
    assert.equal(await answer(), "200");
  });

  test("a supervisor that hangs is noticed by the watchdog, and the node is started anew", async () => {
    await machine.good(
      "mkdir /etc/systemd/system/dlba.service.d && printf '[Service]\\nWatchdogSec=1\\n' > /etc/systemd/system/dlba.service.d/test.conf && systemctl daemon-reload && systemctl restart dlba",
    );
    const hung = await service("MainPID");
    await machine.good(`kill -STOP ${hung}`);
    await eventually("another process", async () => {
      const [pid, state] = [await service("MainPID"), await service("ActiveState")];
      return pid !== hung && pid !== "0" && state === "active";
    });
    assert.equal(await service("NRestarts"), "1");
    await eventually("an answer to the client", async () => (await answer()) === "200");
  });

  test("the access log turns over by logrotate, as the service's user", async () => {
    await machine.good("install -o dlba -g dlba -m 0640 /etc/hostname /var/log/dlba/access.log");
    await machine.good("logrotate --force /etc/logrotate.d/dlba");
    assert.match(await machine.good("ls /var/log/dlba"), /^access\.log\.1\n$/);
  });

  test("purging the running package leaves nothing on the machine", async () => {
    await machine.good("systemctl enable -q dlba");
    await machine.good("apt-get purge -qq dlba");
    const places =
      "/etc/dlba /etc/default/dlba /var/lib/dlba /var/log/dlba /run/dlba /usr/lib/dlba /sys/fs/bpf/dlba";
    const units =
      "/usr/lib/systemd/system/dlba.service /etc/systemd/system/multi-user.target.wants/dlba.service";
    const { stdout } = await machine.sh(`ls -d ${places} ${units} 2>/dev/null`);
    assert.equal(stdout, "");
    assert.equal((await machine.sh("getent passwd dlba || getent group dlba")).stdout, "");
    assert.equal((await machine.sh("pgrep -f '^/usr/lib/dlba'")).stdout, "");
    assert.equal(await settings(), settings_before);
    assert.doesNotMatch(await machine.good("ip link show eth0"), /xdp/);
  });
});
