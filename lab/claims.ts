/** What the demo shows: each claim is measured in a running lab, and holds or does not. */
import { setTimeout as sleep } from "node:timers/promises";
import { type Answer, curl, tally, wrk } from "./client-tools.ts";
import { countsBetween, type FrameCount, readCounts, type SwitchCounts } from "./frames.ts";
import { labHeal, labKill } from "./lab.ts";
import { labPlaces } from "./places.ts";
import { labSchedulerSoon } from "./scheduler.ts";
import type { LabState } from "./state.ts";

export interface Claim {
  readonly claim: string;
  readonly holds: boolean;
  /** For people, a line each. */
  readonly shown: readonly string[];
  readonly figures: Readonly<Record<string, unknown>>;
}

const REQUESTS_PER_WAY = 90;
const USERS = 6;
const REQUESTS_PER_USER = 24;
const URLS = 60;
const LOAD_S = 3;
/** Nodes and web servers must each get at least this part of an even share. */
const LEAST_SHARE = 0.5;

/** The ways a client can come: by IPv4 or IPv6, plain or over TLS, to the pool by cookie or by URL. */
function ways(state: LabState, httpPort: number, httpsPort: number): string[] {
  return state.vips.flatMap((vip) => {
    const host = vip.includes(":") ? `[${vip}]` : vip;
    return [`http://${host}:${httpPort}`, `https://${host}:${httpsPort}`];
  });
}

const repeat = (list: readonly string[], count: number): string[] =>
  Array.from({ length: count }, (_, i) => list[i % list.length] ?? "");

const isGood = ({ status }: Answer): boolean => status === 200;

function nodeNames(state: LabState, answers: readonly Answer[]): string[] {
  return answers.map(
    ({ node_address }) => state.hosts.find(({ addresses }) => addresses.includes(node_address))?.name ?? "?",
  );
}

function isSpread(counts: Readonly<Record<string, number>>, names: readonly string[]): boolean {
  const total = Object.values(counts).reduce((sum, count) => sum + count, 0);
  return names.every((name) => (counts[name] ?? 0) >= (LEAST_SHARE * total) / names.length);
}

const namesOf = (state: LabState, kind: string): string[] =>
  state.hosts.filter((host) => host.kind === kind).map(({ name }) => name);

/** New connections without a cookie, IPv4 and IPv6, HTTP and HTTPS. */
export async function spreadClaim(state: LabState): Promise<Claim> {
  const all: Answer[] = [];
  const failed: Record<string, number> = {};
  for (const way of ways(state, 80, 443)) {
    const urls = repeat([`${way}/id`], REQUESTS_PER_WAY);
    const answers = await curl(state.name, urls, { caFile: state.ca_file, keepAlive: false });
    failed[way] = urls.length - answers.filter(isGood).length;
    all.push(...answers);
  }
  const nodes = tally(nodeNames(state, all));
  const webs = tally(all.map(({ web }) => web));
  const failures = Object.values(failed).reduce((sum, count) => sum + count, 0);
  return {
    claim: "Requests spread over all nodes and all web servers, over IPv4 and IPv6, HTTP and HTTPS",
    holds: failures === 0 && isSpread(nodes, namesOf(state, "node")) && isSpread(webs, namesOf(state, "web")),
    shown: [
      `${all.length} requests, each on a new connection: ${failures} failed`,
      `by node:       ${bars(nodes)}`,
      `by web server: ${bars(webs)}`,
    ],
    figures: { requests: all.length, failures, nodes, web_servers: webs, failures_by_way: failed },
  };
}

/** Users with a cookie each, on new connections, over HTTP and HTTPS in turn. */
export async function cookieClaim(state: LabState): Promise<Claim> {
  const origins = ways(state, 80, 443);
  const users = [];
  for (let i = 0; i < USERS; i++) users.push(await oneUser(state, origins));
  const strayed = users.reduce((sum, user) => sum + user.strayed, 0);
  const leastNodes = Math.min(...users.map(({ nodes }) => nodes));
  return {
    claim:
      "The same cookie always leads to the same web server, over HTTP and HTTPS, whichever node it meets",
    holds: strayed === 0 && leastNodes >= 2 && users.every(({ cookie }) => cookie !== ""),
    shown: [
      `${USERS} users, ${REQUESTS_PER_USER} requests each on new connections, HTTP and HTTPS in turn: ${strayed} strayed`,
      `their web servers: ${users.map(({ web }) => web).join(" ")}; each user met ${leastNodes} or more nodes`,
    ],
    figures: { users, requests_per_user: REQUESTS_PER_USER, strayed },
  };
}

interface User {
  readonly cookie: string;
  readonly web: string;
  readonly nodes: number;
  readonly strayed: number;
}

async function oneUser(state: LabState, origins: readonly string[]): Promise<User> {
  const options = { caFile: state.ca_file, keepAlive: false };
  const [first] = await curl(state.name, [`${origins[0]}/id`], options);
  const { cookie = "", web = "" } = first ?? {};
  const urls = repeat(
    origins.map((origin) => `${origin}/id`),
    REQUESTS_PER_USER,
  );
  const answers = await curl(state.name, urls, { ...options, cookie });
  const right = answers.filter((answer) => isGood(answer) && answer.web === web).length;
  return { cookie, web, nodes: new Set(nodeNames(state, answers)).size, strayed: urls.length - right };
}

/** One connection for many URLs, which go to several web servers; the same URL to the same one each time. */
export async function keepAliveClaim(state: LabState): Promise<Claim> {
  const rounds = [];
  for (const origin of ways(state, 8080, 8443)) {
    const urls = Array.from({ length: URLS }, (_, i) => `${origin}/id/${i}`);
    const answers = await curl(state.name, urls, { caFile: state.ca_file, keepAlive: true });
    rounds.push({ origin, answers });
  }
  const expected = rounds[0]?.answers.map(({ web }) => web).join() ?? "";
  const connections = rounds.map(({ answers }) =>
    answers.reduce((sum, { new_connections }) => sum + new_connections, 0),
  );
  const isSame = rounds.every(({ answers }) => answers.map(({ web }) => web).join() === expected);
  const failures = rounds.reduce((sum, { answers }) => sum + URLS - answers.filter(isGood).length, 0);
  const webs = tally(rounds[0]?.answers.map(({ web }) => web) ?? []);
  const reached = Object.keys(webs).length;
  return {
    claim: "On one kept connection, each URL goes to its own web server",
    holds: isSame && failures === 0 && connections.every((count) => count === 1) && reached >= 2,
    shown: [
      `${URLS} URLs over ${connections[0]} connection: ${bars(webs)}`,
      `over IPv4 and IPv6, HTTP and HTTPS each URL went to ${isSame ? "the same" : "ANOTHER"} web server; ${failures} failed`,
    ],
    figures: { urls: URLS, connections, web_servers: webs, same_over_all_ways: isSame, failures },
  };
}

/** Load, while the switch counts frames by the ports they come in and leave at. */
export async function pathClaim(state: LabState): Promise<Claim> {
  const places = labPlaces(state.name);
  const before = await readCounts(places);
  const load = [];
  for (const way of ways(state, 80, 443))
    load.push({ way, ...(await wrk(state.name, `${way}/10k`, 32, LOAD_S)) });
  const counts = countsBetween(before, await readCounts(places));
  const scheduler = await labSchedulerSoon(state.name);
  const paths = sortPaths(counts, scheduler);
  const errors = load.reduce((sum, each) => sum + each.bad_answers + each.socket_errors, 0);
  const requests = load.reduce((sum, { requests }) => sum + requests, 0);
  return {
    claim: "Requests enter through the scheduler; replies go straight from each node to the client",
    holds: errors === 0 && requests > 0 && isPentaflow(paths, state, scheduler),
    shown: [
      ...load.map(
        ({ way, requests, requests_per_second: rate }) =>
          `${way}: ${requests} requests, ${Math.round(rate)} per second`,
      ),
      `frames at the switch, requests: ${arrows(counts.to_vip)}`,
      `frames at the switch, replies:  ${arrows(counts.from_vip)}`,
      `requests that entered elsewhere: ${paths.entered_elsewhere}; replies that passed the scheduler: ${paths.replies_via_scheduler}; errors: ${errors}`,
    ],
    figures: { requests, errors, load, ...paths, frames: counts },
  };
}

interface Paths {
  readonly entered_by_scheduler: number;
  readonly entered_elsewhere: number;
  /** Frames from the scheduler to each other node. */
  readonly passed_on: Readonly<Record<string, number>>;
  /** Reply frames from each node straight to the client. */
  readonly replied: Readonly<Record<string, number>>;
  readonly replies_via_scheduler: number;
}

function sortPaths({ to_vip, from_vip }: SwitchCounts, scheduler: string): Paths {
  const entered = to_vip.filter(({ from }) => from === "client");
  return {
    entered_by_scheduler: sumFrames(entered.filter(({ to }) => to === scheduler)),
    entered_elsewhere: sumFrames(entered.filter(({ to }) => to !== scheduler)),
    passed_on: Object.fromEntries(
      to_vip.filter(({ from }) => from === scheduler).map(({ to, frames }) => [to, frames]),
    ),
    replied: Object.fromEntries(
      from_vip.filter(({ to }) => to === "client").map(({ from, frames }) => [from, frames]),
    ),
    replies_via_scheduler: sumFrames(from_vip.filter(({ to }) => to !== "client")),
  };
}

function sumFrames(counts: readonly FrameCount[]): number {
  return counts.reduce((total, { frames }) => total + frames, 0);
}

function isPentaflow(paths: Paths, state: LabState, scheduler: string): boolean {
  const nodes = namesOf(state, "node");
  return (
    paths.entered_by_scheduler > 0 &&
    paths.entered_elsewhere === 0 &&
    paths.replies_via_scheduler === 0 &&
    nodes.every((name) => (paths.replied[name] ?? 0) > 0) &&
    nodes.every((name) => name === scheduler || (paths.passed_on[name] ?? 0) > 0)
  );
}

/** A web server is killed under load: no request fails, its users move; healed, it serves again. */
export async function killClaim(state: LabState): Promise<Claim> {
  const victim = namesOf(state, "web").at(-1) ?? "";
  const [way = ""] = ways(state, 80, 443);
  const user = await userOf(state, victim, `${way}/id`);
  const load = wrk(state.name, `${way}/id`, 16, LOAD_S);
  await sleep(1000);
  const processes_killed = await labKill(state.name, victim);
  const { requests: requests_during, bad_answers, socket_errors } = await load;
  const options = { caFile: state.ca_file, keepAlive: false };
  const urls = repeat([`${way}/id`], REQUESTS_PER_WAY);
  const after = [
    ...(await curl(state.name, urls, options)),
    ...(await curl(state.name, urls, { ...options, ...user })),
  ];
  await labHeal(state.name, victim);
  const has_returned = await returns(state, victim, `${way}/id`);
  const answers_by_killed = after.filter(({ web }) => web === victim).length;
  const failures = bad_answers + socket_errors + 2 * urls.length - after.filter(isGood).length;
  const figures = { victim, processes_killed, requests_during, requests_after: after.length };
  return {
    claim: "A web server is killed under load, and no request fails",
    holds:
      processes_killed > 0 &&
      requests_during > 0 &&
      failures === 0 &&
      answers_by_killed === 0 &&
      has_returned,
    shown: [
      `${victim} killed (${processes_killed} processes) during ${requests_during} requests; then ${after.length} more, half with its cookie: ${failures} failed`,
      `healed, ${victim} ${has_returned ? "serves again" : "does NOT serve again"}`,
    ],
    figures: { ...figures, failures, answers_by_killed, has_returned },
  };
}

/** The cookie of a user that a web server got. */
async function userOf(state: LabState, web: string, url: string): Promise<{ cookie: string }> {
  const answers = await curl(state.name, repeat([url], 12), { caFile: state.ca_file, keepAlive: false });
  return { cookie: answers.find((answer) => answer.web === web)?.cookie ?? "" };
}

const RETURN_TRIES = 30;

/** A web server that was passed over is tried again after a while, on each node. */
async function returns(state: LabState, web: string, url: string): Promise<boolean> {
  for (let i = 0; i < RETURN_TRIES; i++) {
    const answers = await curl(state.name, repeat([url], 12), { caFile: state.ca_file, keepAlive: false });
    if (answers.some((answer) => answer.web === web)) return true;
    await sleep(200);
  }
  return false;
}

function bars(counts: Readonly<Record<string, number>>): string {
  const total = Object.values(counts).reduce((sum, count) => sum + count, 0);
  return Object.entries(counts)
    .map(([name, count]) => `${name} ${"#".repeat(Math.round((count / total) * 20))} ${count}`)
    .join("  ");
}

function arrows(counts: readonly FrameCount[]): string {
  return counts.map(({ from, to, frames }) => `${from} → ${to} ${frames}`).join(", ");
}
