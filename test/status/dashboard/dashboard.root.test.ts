/** The dashboard of a real array in a real browser. Needs root, and Debian's chromium. */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { Page } from "playwright-core";
import { labDrain, labHandover, labSchedulerSoon } from "../../../lab/scheduler.ts";
import { browserLab, openPage, type BrowserLab } from "./browser-lab.ts";

const WITHIN_MS = 60_000;

let lab: BrowserLab;
before(async () => {
  lab = await browserLab(`d${process.pid}`, 20);
});
after(() => lab.close());

async function eventually(what: string, isSo: () => Promise<boolean>): Promise<void> {
  const deadline_ms = performance.now() + WITHIN_MS;
  while (!(await isSo())) {
    assert.ok(performance.now() < deadline_ms, `waited for ${what}`);
    await sleep(100);
  }
}

const text = async (page: Page, selector: string): Promise<string> =>
  (await page.locator(selector).textContent()) ?? "";

/** Who has the crown. */
const crowned = async (page: Page): Promise<string> =>
  text(page, ".node:has(.crown[role]) h3 span:nth-child(2)");

/** A figure of a node's card. */
async function figure(page: Page, node: string, name: string): Promise<number> {
  const card = page.locator(".node", { hasText: node });
  const value = await card.locator(`dt:text-is("${name}") + dd`).textContent();
  return Number.parseFloat((value ?? "").replaceAll(",", ""));
}

/** Runs in the page, which has types that this program has not. */
const COLOURS = `((canvas) => {
  const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
  const colours = new Set();
  for (let at = 0; at < pixels.length; at += 4) {
    if (pixels[at + 3] === 255) colours.add((pixels[at] << 16) | (pixels[at + 1] << 8) | pixels[at + 2]);
  }
  return colours.size;
})`;

/** How many colours a canvas has, but for what is faint. */
const coloursOf = async (page: Page, selector: string): Promise<number> =>
  Number(await page.evaluate(`${COLOURS}(document.querySelector("${selector}"))`));

describe("the dashboard", () => {
  test("lets nobody look without the token, and tells nobody what it is", async () => {
    const { page, asked } = await openPage(lab);
    await page.goto(lab.url(2));
    await page.getByLabel("Token").fill("not-the-right-token");
    await page.keyboard.press("Enter");
    await page.getByText("This is not the right token.").waitFor();
    assert.equal(await page.locator("#board").isVisible(), false);
    await page.getByLabel("Token").fill(lab.token);
    await page.keyboard.press("Enter");
    await page.locator(".node").first().waitFor();
    assert.ok(
      asked.every((url) => url.startsWith(lab.url(2)) && !url.includes(lab.token)),
      asked.join("\n"),
    );
    await page.reload();
    await page.locator(".node").first().waitFor();
    await page.getByRole("button", { name: "Sign out" }).click();
    await page.reload();
    await page.getByLabel("Token").waitFor();
    await page.context().close();
  });

  test("shows the whole array from a node that does not schedule, and what changes in it", async () => {
    const scheduler = await labSchedulerSoon(lab.name);
    const shown = scheduler === "node2" ? 3 : 2;
    const { page, complaints } = await openPage(lab);
    await page.goto(`${lab.url(shown)}#token=${lab.token}`);
    await page.locator(".node").nth(2).waitFor();
    assert.equal(page.url(), lab.url(shown));
    await eventually("the crown", async () => (await crowned(page)) === scheduler);
    await page.getByText(`seen from node${shown}`).waitFor();
    for (const node of ["node1", "node2", "node3"]) {
      await eventually(`requests of ${node}`, async () => (await figure(page, node, "Requests/s")) > 0);
      await eventually(`buckets of ${node}`, async () => (await figure(page, node, "Buckets")) > 0);
    }
    await eventually("a picture of three nodes", async () => (await coloursOf(page, "#cells")) >= 3);
    assert.equal(await page.locator("#cells").getAttribute("width"), "256");
    await page.locator("#vserver-table tr", { hasText: "shop" }).first().waitFor();
    await page.locator("#web-server-table tr", { hasText: "shop/web2" }).getByText("up").waitFor();
    await page.locator("#event-list li", { hasText: "takeover" }).first().waitFor();
    await eventually("lines", async () => (await coloursOf(page, "#chart-requests canvas")) >= 3);

    const other = ["node1", "node2", "node3"].find((name) => name !== scheduler)!;
    await labDrain(lab.name, other, false);
    await page
      .locator(".node", { hasText: other })
      .getByText(/^drain(ing|ed)$/)
      .waitFor();
    await eventually("cells that move", async () => !(await text(page, "#moves")).startsWith("0 "));
    await page.locator("#event-list li", { hasText: "node-drain" }).first().waitFor();

    const third = ["node1", "node2", "node3"].find((name) => name !== scheduler && name !== other)!;
    await labHandover(lab.name, third);
    await eventually("the crown to be handed over", async () => (await crowned(page)) === third);
    assert.deepEqual(complaints, []);
    await page.context().close();
  });

  test("is worked with keys, in light and dark, and on a phone", async () => {
    const { page, complaints } = await openPage(lab, {
      colorScheme: "light",
      viewport: { width: 390, height: 844 },
      isMobile: true,
      hasTouch: true,
    });
    await page.goto(`${lab.url(1)}#token=${lab.token}`);
    await page.locator("#web-server-table tr", { hasText: "shop/web1" }).waitFor();
    const width = await page.evaluate("document.documentElement.scrollWidth");
    assert.ok(Number(width) <= 390, `${String(width)} pixels wide`);
    await page.keyboard.press("2");
    assert.equal(await page.evaluate("document.activeElement.id"), "map");
    await page.keyboard.press("?");
    await page.getByRole("dialog").waitFor();
    await page.keyboard.press("Escape");
    const back = (): Promise<unknown> =>
      page.evaluate("getComputedStyle(document.documentElement).backgroundColor");
    const light = await back();
    await page.keyboard.press("t");
    await page.keyboard.press("t");
    assert.notEqual(await back(), light);
    await page.keyboard.press("p");
    await page.getByText("paused").waitFor();
    await page.keyboard.press("p");
    await page.keyboard.press("w");
    await page.locator("#event-list li[data-level=info]").first().waitFor({ state: "hidden" });
    await page.locator("#shares button").first().click();
    await page.locator("#shares button[aria-pressed=true]").waitFor();
    assert.deepEqual(complaints, []);
    await page.context().close();
  });
});
