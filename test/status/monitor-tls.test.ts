/** The monitoring socket over TCP with TLS: who is let in, and that the words are the same. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test, type TestContext } from "node:test";
import { connect, type ConnectionOptions } from "node:tls";
import { MONITOR_CONNECTIONS } from "../../conf/limits.ts";
import { monitorTls, type MonitorTlsSettings } from "../../status/monitor-tls.ts";
import { quiet } from "./samples.ts";

const directory = mkdtempSync(join(tmpdir(), "dlba-monitor-tls-"));
after(() => rmSync(directory, { recursive: true }));
const at = (name: string): string => join(directory, name);
const TOKEN = "a-token-of-enough-characters";

function certificate(name: string): void {
  const subject = ["-subj", `/CN=${name}`, "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"];
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
  const out = ["-keyout", at(`${name}.key`), "-out", at(`${name}.crt`)];
  execFileSync("openssl", ["req", "-x509", ...key, ...subject, ...out], { stdio: "ignore" });
}
before(() => {
  for (const name of ["node", "collector", "stranger"]) certificate(name);
  writeFileSync(at("token"), `${TOKEN}\n`);
});

async function served(t: TestContext, change: Partial<MonitorTlsSettings> = {}): Promise<number> {
  const files = { certificate: at("node.crt"), key: at("node.key"), token_file: at("token") };
  const server = await monitorTls(
    { address: "127.0.0.1", port: 0, ...files, ...change },
    {
      answer: async (command) => [`answer to ${command}\n`],
      idle_ms: 60_000,
      answer_ms: 60_000,
      log: quiet,
    },
  );
  t.after(() => server.close());
  return server.port;
}

/** What a client hears that says some lines, or the code of the error that it ends with. */
function said(port: number, text: string, options: ConnectionOptions = {}): Promise<string> {
  const ca = readFileSync(at("node.crt"));
  return new Promise((resolve) => {
    let heard = "";
    const socket = connect({ host: "127.0.0.1", port, ca, ...options }, () => socket.write(text));
    socket.setEncoding("utf8").on("data", (piece: string) => (heard += piece));
    socket.on("error", (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
    socket.on("close", () => resolve(heard));
  });
}
const REFUSED = "error: say 'token …' with the right token first\n\n";
const identity = (name: string): ConnectionOptions => ({
  cert: readFileSync(at(`${name}.crt`)),
  key: readFileSync(at(`${name}.key`)),
});

describe("over TLS", () => {
  test("who says the token is answered as on the Unix socket", async (t) => {
    const port = await served(t);
    assert.equal(await said(port, `token ${TOKEN};show stat\n`), "answer to show stat\n\n");
    assert.equal(await said(port, `token ${TOKEN}\nshow info\n`), "answer to show info\n\n");
    assert.equal(
      await said(port, `token ${TOKEN};prompt;show a\nshow b;quit\n`),
      "answer to show a\n\n> answer to show b\n\n",
    );
  });

  test("who says none, or a wrong one, hears so and nothing else", async (t) => {
    const port = await served(t);
    for (const line of [
      "show stat\n",
      "token\n",
      `token ${TOKEN}x;show stat\n`,
      `;token ${TOKEN};show stat\n`,
    ])
      assert.equal(await said(port, line), REFUSED, line);
    assert.equal(await said(port, `token x;token ${TOKEN}\nshow stat\n`), REFUSED);
    assert.equal(await said(port, "quit\n"), "");
  });

  test("a certificate of the named authority stands for a token, another one does not", async (t) => {
    const port = await served(t, { client_ca: at("collector.crt") });
    assert.equal(await said(port, "show stat\n", identity("collector")), "answer to show stat\n\n");
    assert.equal(await said(port, "show stat\n", identity("stranger")), REFUSED);
    assert.equal(await said(port, `token ${TOKEN};show stat\n`), "answer to show stat\n\n");
  });

  test("without a token, who has no good certificate gets no connection", async (t) => {
    const port = await served(t, { client_ca: at("collector.crt"), token_file: undefined });
    assert.equal(await said(port, "show stat\n", identity("collector")), "answer to show stat\n\n");
    for (const options of [{}, identity("stranger")])
      assert.match(await said(port, "show stat\n", options), /ECONNRESET|EPIPE|ALERT|^$/);
  });

  test("its places are bounded, and who reads nothing gives way", async (t) => {
    const port = await served(t);
    const ca = readFileSync(at("node.crt"));
    const idle = Array.from({ length: MONITOR_CONNECTIONS }, () => {
      const socket = connect({ host: "127.0.0.1", port, ca }).on("error", () => undefined);
      return new Promise<typeof socket>((resolve) => socket.once("secureConnect", () => resolve(socket)));
    });
    const sockets = await Promise.all(idle);
    t.after(() => sockets.forEach((socket) => socket.destroy()));
    assert.match(await said(port, `token ${TOKEN};show stat\n`), /^$|ECONNRESET|EPIPE/);
    sockets[0]!.destroy();
    // Its place is free once the server has seen that.
    let heard = "";
    while (!heard.startsWith("answer")) heard = await said(port, `token ${TOKEN};show stat\n`);
  });

  test("files that are no good are one clear error", async (t) => {
    writeFileSync(at("short"), "too-short\n");
    for (const [change, code] of [
      [{ token_file: at("short") }, "TOKEN_INVALID"],
      [{ token_file: at("none") }, "TOKEN_UNREADABLE"],
      [{ certificate: at("none") }, "FILE_UNREADABLE"],
      [{ key: at("stranger.key") }, "TLS_UNUSABLE"],
    ] as const)
      await assert.rejects(served(t, change), { code });
    const port = await served(t);
    await assert.rejects(served(t, { port }), { code: "MONITOR_UNUSABLE" });
  });
});
