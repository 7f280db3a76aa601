/**
 * Takes the pictures of the dashboard in docs/: `npm run build:screenshots`, as root. A lab whose table is full (connections from
 * everywhere at random) and to which a drained node comes back, so that cells move.
 */
import { statSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { BrowserContextOptions } from "playwright-core";
import { synFlood } from "../../../lab/packet-tools.ts";
import { labDrain, labUndrain } from "../../../lab/scheduler.ts";
import { labPlaces } from "../../../lab/places.ts";
import { stateOf } from "../../../lab/state.ts";
import { browserLab, openPage, VIP, type BrowserLab } from "./browser-lab.ts";

const DOCS = join(import.meta.dirname, "../../../docs");
const MOST_BYTES = 200_000;
const SHOTS: readonly [name: string, options: BrowserContextOptions][] = [
  ["light", { colorScheme: "light", viewport: { width: 1280, height: 820 } }],
  ["dark", { colorScheme: "dark", viewport: { width: 1280, height: 820 } }],
  ["phone", { colorScheme: "light", viewport: { width: 390, height: 844 }, isMobile: true }],
];

async function shoot(lab: BrowserLab): Promise<void> {
  const state = stateOf(labPlaces(lab.name));
  await synFlood(state, VIP, 80, { count: 150_000, seed: 1, per_second: 15_000 });
  for (const [name, options] of SHOTS) {
    const { page } = await openPage(lab, options);
    await page.goto(`${lab.url(2)}#token=${lab.token}`);
    await page.locator(".node").nth(2).waitFor();
    if (name === "phone") await page.keyboard.press("2");
    await sleep(12_000);
    await labDrain(lab.name, "node3", false);
    await sleep(5000);
    // It comes back little by little.
    await labUndrain(lab.name, "node3");
    await sleep(4000);
    const path = join(DOCS, `dashboard-${name}.png`);
    await page.screenshot({ path });
    await page.context().close();
    const { size } = statSync(path);
    console.log(`${path}: ${size} bytes`);
    if (size > MOST_BYTES) throw new Error(`${path} is larger than ${MOST_BYTES} bytes`);
  }
}

const lab = await browserLab(`shots${process.pid}`, 60);
try {
  await shoot(lab);
} finally {
  await lab.close();
}
