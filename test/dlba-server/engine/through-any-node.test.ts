/** A client comes to the same web server over HTTP and HTTPS, through whichever node: workers share nothing but the array key. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { type IncomingMessage, request as httpRequest } from "node:http";
import { request as httpsRequest } from "node:https";
import { after, test } from "node:test";
import { type Rig, type RigOptions, startRig, webServer } from "./rig.ts";

const servers = await Promise.all(
  [0, 1, 2, 3].map(
    async (i) =>
      await webServer((request, response) => {
        response.setHeader("X-Server", `web${i + 1}`);
        response.setHeader("X-Cookies", request.headers.cookie ?? "");
        if (request.url === "/login")
          response.setHeader("Set-Cookie", [`SID=s${i}.web${i + 1}; Max-Age=1800; Path=/`, "theme=dark"]);
        response.end("ok");
      }),
  ),
);
after(() => servers.forEach(({ server }) => server.close()));

interface Said {
  readonly server: string;
  readonly cookies: readonly string[];
  /** The cookies that the web server saw. */
  readonly seen: string;
}

async function ask(rig: Rig, scheme: "http" | "https", path: string, cookie = ""): Promise<Said> {
  const headers = { connection: "close", ...(cookie === "" ? {} : { cookie }) };
  const where = { host: "127.0.0.1", path, headers, agent: false };
  const request =
    scheme === "http"
      ? httpRequest({ ...where, port: rig.httpPort })
      : httpsRequest({ ...where, port: rig.httpsPort, servername: "localhost", ca: readFileSync(rig.ca) });
  request.end();
  const [response] = (await once(request, "response")) as [IncomingMessage];
  response.resume();
  await once(response, "end");
  const { headers: said } = response;
  return {
    server: String(said["x-server"]),
    cookies: said["set-cookie"] ?? [],
    seen: String(said["x-cookies"]),
  };
}

/** What a client sends back of these cookies. */
const sentBack = (cookies: readonly string[]): string =>
  cookies
    .map((cookie) => cookie.slice(0, cookie.indexOf(";") === -1 ? undefined : cookie.indexOf(";")))
    .join("; ");

/** Calls with one node's worker after the other; a process has one worker at a time. */
async function onNodes<T>(
  options: Partial<RigOptions>,
  calls: readonly ((rig: Rig, so: T | undefined) => Promise<T>)[],
): Promise<T> {
  let so: T | undefined;
  for (const call of calls) {
    const rig = await startRig({ serverPorts: servers.map(({ port }) => port), ...options });
    try {
      so = await call(rig, so);
    } finally {
      await rig.stop();
    }
  }
  return so!;
}

const askThrice = async (rig: Rig): Promise<Said[]> => [
  await ask(rig, "http", "/"),
  await ask(rig, "https", "/"),
  await ask(rig, "http", "/"),
];

async function comeBack(rig: Rig, so: Said[] | undefined): Promise<Said[]> {
  for (const { server, cookies } of so!) {
    for (const scheme of ["http", "https"] as const) {
      const said = await ask(rig, scheme, "/", `a=1; ${sentBack(cookies)}`);
      assert.deepEqual([said.server, said.cookies, said.seen], [server, [], "a=1"]);
    }
  }
  return so!;
}

test("by the injected cookie that another node set over the other protocol", async () => {
  const said = await onNodes({}, [askThrice, comeBack, comeBack]);
  assert.equal(new Set(said.map(({ server }) => server)).size, 3, "they were three web servers");
});

async function logIn(rig: Rig): Promise<Said> {
  assert.deepEqual((await ask(rig, "http", "/")).cookies, [], "no session, no cookie");
  const said = await ask(rig, "http", "/login");
  const [sid, theme, injected] = said.cookies;
  assert.match(sid!, /^SID=/);
  assert.equal(theme, "theme=dark");
  assert.match(injected!, /^DLBA=[\w-]{22}; Max-Age=1800; Path=\/$/);
  return said;
}

async function goOn(rig: Rig, so: Said | undefined): Promise<Said> {
  for (const scheme of ["http", "https"] as const) {
    const said = await ask(rig, scheme, "/", sentBack(so!.cookies));
    assert.deepEqual([said.server, said.cookies], [so!.server, []]);
  }
  return so!;
}

test("by the injected cookie that lives as long as the application's session", async () => {
  await onNodes({ pool: { session_cookie: "SID" } }, [logIn, goOn]);
});

/** The web servers of some session ids, the same over HTTP and HTTPS. */
async function askByIds(rig: Rig): Promise<string[]> {
  const names: string[] = [];
  for (const id of ["s0.web1", "s3.web4", "none", "other.gone"]) {
    const over = [await ask(rig, "http", `/a;sid=${id}`), await ask(rig, "https", `/b;sid=${id}?c`)];
    assert.equal(over[0]!.server, over[1]!.server);
    names.push(over[0]!.server);
  }
  return names;
}

test("by the session id in the URL, for a client without cookies", async () => {
  const pool = { session_id: { cookie: "SID", path_parameter: "sid" } };
  const [first, second] = await onNodes({ pool }, [askByIds, sameAgain(askByIds)]);
  assert.deepEqual([first, second], ["web1", "web4"]);
});

/** The web servers of some users, each over HTTP and HTTPS; without a user they take turns. */
async function askByUser(rig: Rig): Promise<string[]> {
  const names: string[] = [];
  for (let i = 0; i < 12; i++)
    names.push((await ask(rig, i % 2 === 0 ? "http" : "https", "/", `u=${i >> 1}`)).server);
  const without = new Set<string>();
  for (let i = 0; i < 4; i++) without.add((await ask(rig, "http", "/")).server);
  assert.equal(without.size, 4);
  return names;
}

test("by the hash of a header, and by round robin without it", async () => {
  const pool = { hash_key: "header", hash_key_name: "Cookie" };
  const options = { scheduling: "url-hash", pool } as const;
  const names = await onNodes(options, [askByUser, sameAgain(askByUser)]);
  for (let i = 0; i < 12; i += 2) assert.equal(names[i], names[i + 1], "the same key over HTTP and HTTPS");
  assert.ok(new Set(names).size > 1);
});

/** Asks once more, and finds what was found before. */
function sameAgain<T>(call: (rig: Rig) => Promise<T>): (rig: Rig, so: T | undefined) => Promise<T> {
  return async (rig, so) => {
    const found = await call(rig);
    assert.deepEqual(found, so);
    return found;
  };
}
