/** HAProxy and the array that its configuration becomes are asked the same, and answer the same. Needs root. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { labArgv, labDown, labExec } from "../../../lab/lab.ts";
import type { LabState } from "../../../lab/state.ts";
import { labUp } from "../../../lab/up.ts";
import { command } from "../../../net/command.ts";

const MOVING = join(import.meta.dirname, "../../../docs/moving");
const LAB = `moving${process.pid}`;
const directory = mkdtempSync(join(tmpdir(), "dlba-same-"));

/** HAProxy's file as it stands, but for where its own things are on this machine. */
function adapted({ ca_file }: LabState): string {
  return readFileSync(join(MOVING, "haproxy.cfg"), "utf8")
    .replaceAll(/^ +(?:log +\/dev.*|chroot.*|stats .*|user.*|group.*|daemon|log +global|errorfile.*)$/gm, "")
    .replace("maxconn 20000", "maxconn 1000")
    .replace("crt-base /etc/haproxy/certs", `crt-base ${directory}`)
    .replaceAll("/etc/haproxy/ca.pem", ca_file)
    .replaceAll("*:80", "127.0.0.1:80")
    .replaceAll("*:443", "127.0.0.1:443")
    .replace(/listen stats[\s\S]*/, "");
}

interface Answered {
  readonly status: string;
  readonly location: string;
  /** Who answered, without its number: the backend. */
  readonly backend: string;
  readonly server: string;
  readonly hsts: string;
  /** What the web server was told of the headers that rules change. */
  readonly told: readonly string[];
}

/** Status, headers of the answer, and what the stand-in says that it was asked. */
async function ask(address: string, url: string, options: readonly string[]): Promise<Answered> {
  const { hostname, port } = new URL(url);
  const places = [80, 443].flatMap((each) => ["--resolve", `${hostname}:${port || each}:${address}`]);
  const curl = ["curl", "-sk", "-i", "-m", "5", "--noproxy", "*", "--path-as-is", ...places, ...options, url];
  const { stdout } = await labExec(LAB, "client", curl);
  const header = (name: string): string =>
    new RegExp(`^${name}: *(.*?)\r?$`, "im").exec(stdout.split("\r\n\r\n")[0] ?? "")?.[1] ?? "";
  const told = ["x-entrance", "x-api", "x-debug", "x-forwarded-proto"].filter((name) =>
    new RegExp(`^${name}: `, "m").test(stdout.split("\r\n\r\n")[1] ?? ""),
  );
  return {
    status: stdout.split(" ")[1] ?? "",
    location: header("location"),
    backend: header("x-web-server").replace(/\d$/, ""),
    server: header("server"),
    hsts: header("strict-transport-security"),
    told,
  };
}

const REQUESTS: readonly (readonly [url: string, options?: readonly string[]])[] = [
  ["https://shop.example/"],
  ["https://shop.example/cart?x=1&y=%2F"],
  ["https://shop.example/cart", ["-d", "item=1"]],
  ["https://shop.example/", ["-H", "X-Debug: 1", "-H", "X-Forwarded-Proto: http"]],
  ["https://shop.example/static/a"],
  ["https://shop.example/images/b.png"],
  ["https://shop.example/x/y.css"],
  ["https://shop.example/x/y.css?v=1"],
  ["https://shop.example/x/y.cssx"],
  ["https://shop.example/statics"],
  ["https://shop.example/api/v1"],
  ["https://shop.example/apis"],
  ["https://api.shop.example/anything"],
  ["https://API.shop.example/anything"],
  ["https://shop.example/admin"],
  ["https://shop.example/admin/users"],
  ["https://shop.example/administrator"],
  ["https://shop.example/", ["-X", "TRACE"]],
  ["https://www.shop.example/path?query=1"],
  ["https://www.shop.example/admin"],
  ["http://shop.example/"],
  ["http://shop.example/cart?x=1"],
  ["http://api.shop.example/v1?a=b"],
  ["http://www.shop.example/"],
  ["http://shop.example/admin"],
  ["http://shop.example/static/a.css"],
];

describe("the worked example", () => {
  let state: LabState;
  let haproxy: ChildProcess;
  before(async () => {
    ({ state } = await labUp({ name: LAB, configFile: join(MOVING, "dlba.yaml"), hasStandIns: true }));
    // The very certificate that the lab has made for the array.
    const pem = ["server0.crt", "server0.key"].map((name) =>
      readFileSync(join(state.config_file, "..", name), "utf8"),
    );
    writeFileSync(join(directory, "shop.pem"), pem.join(""));
    const file = join(directory, "haproxy.cfg");
    writeFileSync(file, adapted(state));
    await command("/usr/sbin/haproxy", ["-c", "-q", "-f", file]);
    const [program = "", ...args] = labArgv(LAB, "client", ["/usr/sbin/haproxy", "-db", "-f", file]);
    haproxy = spawn(program, args, { stdio: "ignore" });
    for (let tries = 0; (await ask("127.0.0.1", "https://shop.example/", [])).status !== "200"; tries++) {
      assert.ok(tries < 200 && haproxy.exitCode === null, "HAProxy serves");
      await sleep(50);
    }
  });
  after(async () => {
    haproxy.kill("SIGKILL");
    await labDown(LAB);
    rmSync(directory, { recursive: true });
  });

  test("each request has the same answer of the same backend, which was told the same", async () => {
    const [vip = ""] = state.vips;
    const rows = [];
    for (const [url, options = []] of REQUESTS) {
      const [theirs, ours] = [await ask("127.0.0.1", url, options), await ask(vip, url, options)];
      rows.push({ url, options, theirs, ours });
    }
    for (const { url, options, theirs, ours } of rows) {
      assert.deepEqual(ours, theirs, `${url} ${options.join(" ")}`);
    }
    const seen = new Set(rows.map(({ ours }) => `${ours.status} ${ours.backend}`));
    assert.deepEqual([...seen].toSorted(), ["200 api", "200 app", "200 cache", "301 ", "403 ", "405 "]);
    assert.deepEqual(rows[0]?.ours.told, ["x-entrance", "x-forwarded-proto"]);
    assert.deepEqual(rows.find(({ url }) => url.includes("/api/"))?.ours.told, [
      "x-entrance",
      "x-api",
      "x-forwarded-proto",
    ]);
  });

  test("a client's cookie leads to one web server on both", async () => {
    for (const address of ["127.0.0.1", state.vips[0] ?? ""]) {
      const jar = join(directory, `jar-${address}`);
      const place = ["--resolve", `shop.example:443:${address}`];
      const curl = [
        "curl",
        "-sk",
        "-b",
        jar,
        "-c",
        jar,
        ...place,
        "-o",
        "/dev/null",
        "-w",
        "%header{x-web-server}\n",
      ];
      const servers = new Set<string>();
      for (let i = 0; i < 6; i++)
        servers.add((await labExec(LAB, "client", [...curl, "https://shop.example/"])).stdout);
      assert.equal(servers.size, 1, address);
      assert.match(readFileSync(jar, "utf8"), /\tSERVERID\t/);
    }
  });
});
