import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test, type TestContext } from "node:test";
import { arrive, keepParcel } from "../../../cli/join/arrival.ts";
import { invite, type Invitation, type InvitationPlace } from "../../../cli/join/invitation.ts";
import { packFor } from "../../../cli/join/packing.ts";
import { nodeLine, type JoinHello, type Parcel } from "../../../cli/join/parcel.ts";
import { tokenPsk, type Token } from "../../../cli/join/token.ts";
import { DlbaError } from "../../../conf/errors.ts";
import { JOIN_TRIES } from "../../../conf/limits.ts";
import { connectPsk } from "../../../net/psk-tls.ts";

const ADDRESS = "127.0.0.1";
const GOOD = readFileSync(join(import.meta.dirname, "../../conf/good.yaml"), "utf8");
const root = mkdtempSync(join(tmpdir(), "dlba-join-"));
after(() => rmSync(root, { recursive: true }));
const newDirectory = (): string => mkdtempSync(join(root, "of-"));

const HELLO: JoinHello = { join: 1, version: "0", hostname: "lb2", addresses: ["10.0.0.1"] };
const KEY = `${Buffer.alloc(32, 3).toString("base64")}\n`;

function parcelIn(directory: string): Parcel {
  const path = join(directory, "etc/dlba.yaml");
  const keyPath = join(directory, "etc/array.key");
  const text = GOOD.replace("/etc/dlba/array.key", keyPath);
  return {
    version: "0",
    node: "a",
    config: { path, text },
    key: { path: keyPath, text: KEY },
    files: [],
    missing: [],
  };
}

async function invited(
  t: TestContext,
  parcel: Parcel,
  more: Partial<InvitationPlace> = {},
): Promise<{ invitation: Invitation; token: Token; other: Token }> {
  const secret = randomBytes(16);
  const psk = tokenPsk(secret);
  const place = { address: ADDRESS, port: 0, psk, life_ms: 60_000, parcelFor: () => parcel, ...more };
  const invitation = await invite(place);
  t.after(() => invitation.close());
  const token = { address: ADDRESS, port: invitation.port, secret };
  return { invitation, token, other: { ...token, secret: randomBytes(16) } };
}

const nothing = (): void => undefined;
const refused = { code: "TOKEN_REFUSED" };

describe("a host that joins", () => {
  test("gets everything, each file whole and with its mode, and says so", async (t) => {
    const parcel = parcelIn(newDirectory());
    const { invitation, token } = await invited(t, parcel);
    assert.deepEqual(await arrive(token, HELLO, keepParcel), parcel);
    const guest = await invitation.guest;
    assert.deepEqual([guest.hello, guest.outcome], [HELLO, { done: true }]);
    assert.equal(readFileSync(parcel.config.path, "utf8"), parcel.config.text);
    assert.equal(readFileSync(parcel.key.path, "utf8"), KEY);
    assert.equal(statSync(parcel.key.path).mode & 0o7777, 0o600);
    assert.equal(statSync(parcel.config.path).mode & 0o7777, 0o644);
  });

  test("opens once: who comes second with the same token gets nothing", async (t) => {
    const { token } = await invited(t, parcelIn(newDirectory()));
    await arrive(token, HELLO, nothing);
    await assert.rejects(
      arrive(token, HELLO, () => assert.fail("nothing is sent")),
      refused,
    );
  });

  test("of two at once one gets in", async (t) => {
    const { token } = await invited(t, parcelIn(newDirectory()));
    const both = await Promise.allSettled([1, 2].map(() => arrive(token, HELLO, nothing)));
    assert.deepEqual(both.map(({ status }) => status).toSorted(), ["fulfilled", "rejected"]);
  });

  test("with another secret gets nothing, and after some tries nobody does", async (t) => {
    const { invitation, token, other } = await invited(t, parcelIn(newDirectory()));
    for (let i = 0; i < JOIN_TRIES; i++) await assert.rejects(arrive(other, HELLO, nothing), refused);
    await assert.rejects(invitation.guest, { code: "INVITATION_GUESSED" });
    await assert.rejects(
      arrive(token, HELLO, () => assert.fail("nothing is sent")),
      refused,
    );
  });

  test("before the tries are used up, wrong ones harm nobody", async (t) => {
    const { token, other } = await invited(t, parcelIn(newDirectory()));
    for (let i = 1; i < JOIN_TRIES; i++) await assert.rejects(arrive(other, HELLO, nothing), refused);
    await arrive(token, HELLO, nothing);
  });

  test("that comes late finds nobody", async (t) => {
    const { invitation, token } = await invited(t, parcelIn(newDirectory()), { life_ms: 20 });
    await assert.rejects(invitation.guest, { code: "INVITATION_ENDED" });
    await assert.rejects(arrive(token, HELLO, nothing), refused);
    await invitation.close();
    await assert.rejects(arrive(token, HELLO, nothing), { code: "JOIN_FAILED" });
  });

  test("that is lost on the way, or talks nonsense, uses the token up", async (t) => {
    for (const line of ["", "{}\n", "x".repeat(20_000), `${JSON.stringify({ ...HELLO, join: 2 })}\n`]) {
      const { invitation, token } = await invited(t, parcelIn(newDirectory()));
      const socket = connectPsk(ADDRESS, token.port, tokenPsk(token.secret));
      socket.on("error", nothing).on("secureConnect", () => socket.end(line));
      await assert.rejects(invitation.guest, (error: DlbaError) => error.code.startsWith("JOIN_"));
      await assert.rejects(arrive(token, HELLO, nothing), refused);
    }
  });

  test("a scan of the port is a try; what it sends is not looked at", async (t) => {
    const { token } = await invited(t, parcelIn(newDirectory()));
    await new Promise<void>((resolve) => {
      const plain = connect(token.port, ADDRESS, () => plain.end("GET / HTTP/1.1\r\n\r\n"));
      plain.on("error", nothing).on("close", () => resolve());
      plain.resume();
    });
    await arrive(token, HELLO, nothing);
  });

  test("that can't write what it got says so, and leaves nothing", async (t) => {
    const directory = newDirectory();
    const parcel = parcelIn(directory);
    writeFileSync(join(directory, "etc"), "a file where the directory should be");
    const { invitation, token } = await invited(t, parcel);
    await assert.rejects(arrive(token, HELLO, keepParcel), { code: "FILE_UNWRITABLE" });
    const { outcome } = await invitation.guest;
    assert.equal(outcome.done, false);
    assert.match(outcome.reason ?? "", /can't be made/);
    assert.deepEqual(readdirSync(directory), ["etc"]);
  });
});

describe("what a host keeps of a parcel", () => {
  test("other files that are there stop it before anything is written; the same ones don't", () => {
    const directory = newDirectory();
    const parcel = parcelIn(directory);
    mkdirSync(join(directory, "etc"));
    writeFileSync(parcel.key.path, "another");
    assert.throws(() => keepParcel(parcel), { code: "FILE_EXISTS" });
    assert.deepEqual(readdirSync(join(directory, "etc")), ["array.key"]);
    writeFileSync(parcel.key.path, KEY);
    keepParcel(parcel);
    keepParcel(parcel);
    assert.equal(readFileSync(parcel.config.path, "utf8"), parcel.config.text);
  });

  test("who holds the array's key takes the present configuration in place of an older one; others don't", () => {
    const parcel = parcelIn(newDirectory());
    keepParcel(parcel);
    writeFileSync(parcel.config.path, "an older one");
    keepParcel(parcel);
    assert.equal(readFileSync(parcel.config.path, "utf8"), parcel.config.text);
    rmSync(parcel.key.path);
    writeFileSync(parcel.config.path, "of another array");
    assert.throws(() => keepParcel(parcel), { code: "FILE_EXISTS" });
    assert.deepEqual(readdirSync(join(parcel.config.path, "..")), ["dlba.yaml"]);
  });

  test("files that the configuration does not name are refused, and so are bad keys and configurations", () => {
    const directory = newDirectory();
    const parcel = parcelIn(directory);
    const stray = { path: "/etc/cron.d/evil", mode: 0o644, content: "" };
    assert.throws(() => keepParcel({ ...parcel, files: [stray] }), { code: "JOIN_UNREADABLE" });
    const config = { ...parcel.config, text: "array: 1" };
    assert.throws(() => keepParcel({ ...parcel, config }), { code: "CONFIG_INVALID" });
    const key = { ...parcel.key, text: "no key" };
    assert.throws(() => keepParcel({ ...parcel, key }), { code: "ARRAY_KEY_INVALID" });
    assert.deepEqual(readdirSync(directory), []);
  });
});

describe("what a node packs", () => {
  const directory = newDirectory();
  const file = (name: string): string => join(directory, name);
  const text = GOOD.replace("/etc/dlba/array.key", file("array.key")).replace(
    "protocol: http\n",
    `protocol: https\n    certificates: [{ certificate: ${file("a.pem")}, key: ${file("a.key")} }]\n` +
      "    error_pages: [{ status: 503, file: pages/503.html }]\n",
  );
  writeFileSync(file("dlba.yaml"), text);
  writeFileSync(file("array.key"), KEY);
  writeFileSync(file("a.pem"), "certificate");
  writeFileSync(file("a.key"), "private");
  const wanted = {
    configFile: file("dlba.yaml"),
    stateDir: directory,
    node: undefined,
    withCertificates: false,
  };

  test("certificates stay where they are unless they are asked for; what is not sent is named", () => {
    const plain = packFor(HELLO, wanted);
    assert.deepEqual([plain.node, plain.files], ["a", []]);
    assert.deepEqual(plain.missing, [file("a.pem"), file("a.key"), "pages/503.html"]);
    const full = packFor(HELLO, { ...wanted, withCertificates: true });
    assert.deepEqual(
      full.files.map(({ path, mode, content }) => [path, mode, Buffer.from(content, "base64").toString()]),
      [
        [file("a.pem"), 0o644, "certificate"],
        [file("a.key"), 0o600, "private"],
      ],
    );
    assert.deepEqual(full.missing, ["pages/503.html"]);
  });

  test("of what serves the status, tokens go along; a node's own certificate does not", () => {
    const status = `status:
  dashboard: { token_file: ${file("token")}, certificate: ${file("own.pem")}, key: ${file("own.key")} }
`;
    writeFileSync(file("token"), "0123456789abcdef");
    writeFileSync(file("status.yaml"), text + status);
    const { files, missing } = packFor(HELLO, {
      ...wanted,
      configFile: file("status.yaml"),
      withCertificates: true,
    });
    assert.deepEqual(
      files.map(({ path, mode }) => [path, mode]),
      [
        [file("a.pem"), 0o644],
        [file("a.key"), 0o600],
        [file("token"), 0o600],
      ],
    );
    assert.deepEqual(missing, ["pages/503.html", file("own.pem"), file("own.key")]);
  });

  test("a host that is no node yet is told so; one that was named is that one", () => {
    const stranger = { ...HELLO, addresses: ["10.0.0.9"] };
    assert.equal(packFor(stranger, wanted).node, null);
    assert.equal(packFor(stranger, { ...wanted, node: "a" }).node, "a");
    assert.throws(() => packFor(stranger, { ...wanted, node: "b" }), { code: "NODE_UNKNOWN" });
  });

  test("the line that would make it one has a number and a name that are free", () => {
    const config = {
      nodes: [
        { number: 1, name: "lb1" },
        { number: 3, name: "lb3" },
      ],
    } as never;
    const line = (hostname: string): string => nodeLine(config, hostname, "10.0.0.9", "eth0");
    assert.equal(
      line("lb2.example.org"),
      '- { number: 2, name: "lb2", address: "10.0.0.9", interface: "eth0" }',
    );
    assert.match(line("LB3"), /number: 2, name: "node2"/);
    assert.match(line("-"), /name: "node2"/);
  });
});
