/** The commands of docs/quick-start.md, as they stand there, on two machines that have never seen the product. Needs root. */
import assert from "node:assert/strict";
import { readFileSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { productVersion } from "../../conf/version.ts";
import type { Machine } from "./machine.ts";
import { buildPackage, type PackagedLab, packagedLab } from "./packaged-lab.ts";

const WITHIN_MS = 60_000;
const DOCUMENT = readFileSync(join(import.meta.dirname, "../../docs/quick-start.md"), "utf8");

interface Step {
  /** node1, node2 or "a client". */
  readonly on: string;
  readonly command: string;
}

/** The code blocks' lines, each with the machine that its block's first line names. */
function stepsOf(document: string): Step[] {
  return [...document.matchAll(/^```sh\n# on (node\d|a client)[^\n]*\n(.*?)^```$/gms)].flatMap(
    ([, on = "", text = ""]) =>
      text
        .replaceAll(/\\\n\s*/g, "")
        .trim()
        .split("\n")
        .map((command) => ({ on, command })),
  );
}

async function eventually(what: string, isSo: () => Promise<boolean>): Promise<void> {
  const deadline_ms = performance.now() + WITHIN_MS;
  while (!(await isSo())) {
    assert.ok(performance.now() < deadline_ms, `waited for ${what}`);
    await sleep(100);
  }
}

describe("the quick start", () => {
  const steps = stepsOf(DOCUMENT);
  let lab: PackagedLab;
  const machines = new Map<string, Machine>();

  before(async () => {
    lab = await packagedLab();
    const deb = await buildPackage(lab.given, productVersion());
    // The document names the package for the usual architecture.
    const named = /dlba_\S+\.deb/.exec(DOCUMENT)?.[0] ?? "";
    assert.equal(named, `dlba_${productVersion()}_amd64.deb`);
    if (named !== deb) symlinkSync(deb, join(lab.given, named));
    for (const name of ["node1", "node2"]) {
      const machine = await lab.machine(name);
      await machine.good(`ln -s given/${named} ${named}`);
      machines.set(name, machine);
    }
  });
  after(async () => lab?.down());

  test("has fewer than ten commands, and init and push are among them", () => {
    assert.ok(steps.length > 0 && steps.length < 10, `${steps.length} commands`);
    for (const word of ["dlba init", "dlba push", "dlba join", "systemctl enable"]) {
      assert.ok(
        steps.some(({ command }) => command.includes(word)),
        word,
      );
    }
    assert.equal(DOCUMENT.match(/^```/gm)?.length, DOCUMENT.match(/^```sh\n# on /gm)!.length * 2);
  });

  test("leads from two fresh machines to an array that serves", async () => {
    let token = "";
    let invitation: Promise<string> | undefined;
    for (const { on, command } of steps) {
      if (on === "a client") continue;
      const machine = machines.get(on)!;
      if (command.startsWith("dlba token")) {
        // It waits in the foreground, so somebody else has to go on meanwhile.
        invitation = machine.good(`${command} > token.txt`);
        await eventually("a token", async () => {
          token = /dlba1-[\w-]+/.exec((await machine.sh("cat token.txt")).stdout)?.[0] ?? "";
          return token !== "";
        });
        continue;
      }
      await machine.good(command.replace("TOKEN", token));
    }
    await invitation;
    assert.match(await machines.get("node2")!.good("dlba export"), /balance: round-robin/);
    const asks = steps.filter(({ on }) => on === "a client");
    assert.ok(asks.length > 0);
    for (const { command } of asks) {
      // A web server of the lab has no first page, and says who it is whatever it answers.
      await eventually(command, async () => {
        const answer = await lab.client(command);
        return /^HTTP\/1\.1 .*^x-web-server: web[12]/ims.test(answer);
      });
    }
    for (const [name, machine] of machines) {
      assert.equal((await machine.good("systemctl is-active dlba")).trim(), "active", name);
    }
    const counts = "wrk -t1 -c64 -d1s -H 'Connection: close' http://192.0.2.10/100b";
    await eventually("both nodes to serve", async () => {
      await lab.client(counts);
      const served = await Promise.all(
        [...machines.values()].map(async (machine) => machine.good("dlba show info")),
      );
      return served.every((info) => Number(/^CumReq: (\d+)/m.exec(info)?.[1]) > 0);
    });
  });
});
