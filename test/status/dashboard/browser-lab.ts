/** A small array with a dashboard on every node, a little traffic, and a real Chromium on the lab's client. */
import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { chmodSync, existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium, type Browser, type BrowserContextOptions, type Page } from "playwright-core";
import type { FlowPlan } from "../../../lab/flow-report.ts";
import { startFlows } from "../../../lab/flow-tools.ts";
import { labArgv, labDown } from "../../../lab/lab.ts";
import { labUp } from "../../../lab/up.ts";

export const VIP = "198.18.0.100";
const CHROMIUM = "/usr/bin/chromium";
const PORT = 9471;

export interface BrowserLab {
  readonly name: string;
  readonly token: string;
  readonly browser: Browser;
  /** The dashboard of a node. */
  readonly url: (number: number) => string;
  readonly close: () => Promise<void>;
}

/** Brings it up: three nodes, two web servers, connections at a rate; the dashboard is served over TLS. */
export async function browserLab(name: string, perSecond: number): Promise<BrowserLab> {
  const directory = mkdtempSync(join(tmpdir(), "dlba-dashboard-"));
  const token = randomBytes(24).toString("base64url");
  const closing: (() => Promise<unknown>)[] = [async () => rmSync(directory, { recursive: true })];
  const close = async (): Promise<void> => {
    for (const one of closing.splice(0).toReversed()) await one();
  };
  try {
    const configFile = join(directory, "dlba.yaml");
    writeFileSync(join(directory, "token"), `${token}\n`, { mode: 0o600 });
    makeCertificate(directory);
    writeFileSync(configFile, configText(directory));
    closing.push(() => labDown(name));
    await labUp({ name, configFile });
    const flows = startFlows(name, "client", traffic(perSecond));
    closing.push(() => flows.stop());
    const browser = await launch(name, directory);
    closing.push(() => browser.close());
    return { name, token, browser, url: (number) => `https://198.18.1.${number}:${PORT}/`, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Connections that are kept, and new ones at a rate. */
function traffic(per_second: number): FlowPlan {
  const at = { host: VIP, port: 80, path: "/100b" };
  return {
    groups: [
      { ...at, kind: "held", name: "kept", connections: 24, pause_ms: [200, 600] },
      { ...at, kind: "fresh", name: "new", per_second },
    ],
    answer_within_ms: 30_000,
    most_s: 300,
  };
}

/** A page that tells what it complains of, and what it asks for. */
export async function openPage(
  { browser }: BrowserLab,
  options: BrowserContextOptions = {},
): Promise<{ readonly page: Page; readonly complaints: string[]; readonly asked: string[] }> {
  const context = await browser.newContext({ ignoreHTTPSErrors: true, ...options });
  const page = await context.newPage();
  const complaints: string[] = [];
  const asked: string[] = [];
  page.on("console", (message) => {
    if (message.type() === "error") complaints.push(message.text());
  });
  page.on("pageerror", (error) => complaints.push(error.message));
  page.on("request", (request) => asked.push(request.url()));
  return { page, complaints, asked };
}

function makeCertificate(directory: string): void {
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
  const out = ["-keyout", join(directory, "node.key"), "-out", join(directory, "node.crt")];
  execFileSync("openssl", ["req", "-x509", ...key, "-subj", "/CN=node", "-days", "2", ...out], {
    stdio: "ignore",
  });
}

function configText(directory: string): string {
  const shared = { vips: [VIP, "fd00:198:18::100"], pool: "shop" };
  return JSON.stringify({
    array: { name: "shop", key_file: join(directory, "made-by-the-lab.key") },
    nodes: [1, 2, 3].map((number) => ({
      number,
      name: `node${number}`,
      address: `198.18.1.${number}`,
      interface: "eth0",
      priority: number === 1 ? 200 : 100,
    })),
    vservers: [
      { name: "shop", ports: [80], protocol: "http", ...shared },
      { name: "images", ports: [8080], protocol: "http", ...shared },
    ],
    pools: [
      {
        name: "shop",
        servers: [
          { id: "web1", address: "198.18.2.1" },
          { id: "web2", address: "198.18.2.2" },
        ],
      },
    ],
    scheduler: { xdp: "generic", fill_s: 5 },
    limits: { workers: 1 },
    status: {
      dashboard: {
        port: PORT,
        token_file: join(directory, "token"),
        certificate: join(directory, "node.crt"),
        key: join(directory, "node.key"),
      },
    },
  });
}

/** Chromium in the client's namespace; it speaks to the test by inherited descriptors. */
async function launch(name: string, directory: string): Promise<Browser> {
  if (!existsSync(CHROMIUM)) throw new Error(`${CHROMIUM} is missing: apt-get install chromium`);
  const starter = join(directory, "chromium");
  const argv = labArgv(name, "client", [CHROMIUM]).map((word) => `'${word}'`);
  writeFileSync(starter, `#!/bin/sh\nexec ${argv.join(" ")} "$@"\n`);
  chmodSync(starter, 0o755);
  return chromium.launch({
    executablePath: starter,
    args: ["--disable-gpu", "--disable-background-networking"],
  });
}
