/**
 * Plays the engine for a session: keeps what was not taken and offers it again, opens and closes pretended
 * connections to web servers, and records all that is said. It reads a client only when the session takes
 * bytes (or ahead of that), and spoils every buffer after its call, as a reused receive buffer would.
 */
import assert from "node:assert/strict";
import { RECEIVE_BUFFER_BYTES } from "../../conf/limits.ts";
import { closeCoder, code, createCoder, type Coder } from "../../dlba-server/engine/coder.ts";
import type { Persistence } from "../../dlba-server/persistence.ts";
import * as session from "../../dlba-server/session.ts";
import { retryRules } from "../../dlba-server/pools/retry-rules.ts";
import {
  CHOICE,
  PHASE,
  type PoolEnv,
  type SessionEnv,
  type SessionPort,
} from "../../dlba-server/session-port.ts";

export const TOKENS = ["t0", "t1", "t2"];

/** The injected cookie and nothing else. */
export const PLAIN: Persistence = {
  isPlain: true,
  hashKey: { kind: "path-and-query", name: "" },
  sessionCookie: "",
  pairs: TOKENS.map((token) => `Set-Cookie: DLBA=${token}`),
  sessionIds: null,
};

export function testPool(overrides: Partial<PoolEnv> = {}): PoolEnv {
  return {
    scheduling: "cookie",
    cookieName: "DLBA",
    setCookie: TOKENS.map((token) => `Set-Cookie: DLBA=${token}; Path=/; HttpOnly\r\n`),
    tokenIndex: new Map(TOKENS.map((token, index) => [token, index])),
    otherCookies: [],
    persistence: PLAIN,
    takesUpgrades: true,
    serverKeepAlive: true,
    retries: retryRules({}),
    ...overrides,
  };
}

export function testEnv(overrides: Partial<SessionEnv> = {}): SessionEnv {
  return {
    limits: {
      request_head_bytes: 8192,
      request_target_bytes: 2048,
      request_body_bytes: 1_000_000,
      response_head_bytes: 8192,
    },
    scheme: "http",
    hosts: [],
    pools: [testPool()],
    rules: null,
    compression: null,
    via: "array",
    takesWebsockets: true,
    addsRequestId: false,
    addsTraceparent: false,
    isLogged: true,
    clientAddress: "192.0.2.1",
    clientIp: undefined,
    clientPort: 40_000,
    isTrustedProxy: false,
    localAddress: "192.0.2.10",
    localPort: 80,
    ...overrides,
  };
}

/** One connection's share: what one web server got between connect and release. */
export interface Exchange {
  readonly server: number;
  readonly mayReuse: boolean;
  text: string;
  /** undefined while it lasts. */
  isReusable: boolean | undefined;
}

export interface EngineOptions {
  readonly env?: SessionEnv;
  /** Web servers that can't be connected. */
  readonly refusing?: readonly number[];
  /** Connections are found idle, as long as they may be reused. */
  readonly hasIdle?: boolean;
  /** Reads the client also while the session takes nothing. */
  readonly readsAhead?: boolean;
  /** Writes the session down and reads it back before every input. */
  readonly revives?: boolean;
  /** Leaves connects to `connected` and `failed`. */
  readonly isConnectHeld?: boolean;
  /** How many web servers there are; the first ones have cookies. */
  readonly servers?: number;
  /** All web servers are busy until `turn`; nobody may wait; everything is refused. */
  readonly isBusy?: boolean;
  readonly isRoomFull?: boolean;
  readonly isShedding?: boolean;
  /** Retries that there are. */
  readonly budget?: number;
  readonly pages?: ReadonlyMap<number, string>;
  /** Too many responses are being compressed. */
  readonly isCodingFull?: boolean;
  /** How long the client has to wait for a rule's limit. */
  readonly limits?: (rule: number) => number;
}

const bytesOf = (data: string | Buffer): Buffer =>
  typeof data === "string" ? Buffer.from(data, "latin1") : data;

function revived(state: session.Session): session.Session {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- what was a session is one again
  return JSON.parse(JSON.stringify(state)) as session.Session;
}

export function createEngine(options: EngineOptions = {}) {
  const env = options.env ?? testEnv();
  let state = session.createSession();
  let budget = options.budget ?? 1000;
  let isBusy = options.isBusy ?? false;
  let held = Buffer.alloc(0);
  const kernel: (Buffer | "end")[] = [];
  let wanted: { server: number; mayReuse: boolean } | undefined;
  let current: Exchange | undefined;
  let coder: Coder | undefined;
  const record = {
    toClient: "",
    exchanges: [] as Exchange[],
    end: "" as "" | "closed" | "aborted",
    counts: [] as string[],
    /** Who of a tunnel has been told that the other side has ended. */
    halves: [] as string[],
    refused: [] as [kind: string, status: number, text: string, isWhole: boolean][],
    isRequest: false,
    /** How requests have ended, and what the log has of them. */
    ends: [] as { end: string; line: string | undefined }[],
    waits: 0,
    choices: [] as { token: string; hash: number; tried: number[] }[],
    /** Whether more of the client's bytes may come after the end that nobody will read. */
    lingers: false,
  };

  const say = (text: string): void => {
    assert.equal(record.end, "", "the client is told nothing after the end");
    record.toClient += text;
  };
  const send = (text: string): void => {
    assert.ok(current, "a web server is connected when bytes are sent to it");
    current.text += text;
  };
  const port: SessionPort = {
    clientText: say,
    clientBytes: (bytes, start, end) => say(bytes.latin1Slice(start, end)),
    beginCoding: (coding) => {
      if (options.isCodingFull === true) return false;
      coder = createCoder(coding);
      return true;
    },
    clientCoded: (bytes, start, end, step) =>
      code(coder!, bytes, start, end, step, (piece, from, to) =>
        say(`${(to - from).toString(16)}\r\n${piece.latin1Slice(from, to)}\r\n`),
      ),
    serverText: send,
    serverBytes: (bytes, start, end) => send(bytes.latin1Slice(start, end)),
    wait: () => {
      if (options.isRoomFull === true) return false;
      record.waits++;
      return true;
    },
    mayRetry: () => budget-- > 0,
    choose: (token, hash, tried) => {
      record.choices.push({ token, hash, tried: [...tried] });
      if (options.isShedding === true) return CHOICE.shed;
      if (isBusy) return CHOICE.full;
      const named = env.pools[state.pool]!.tokenIndex.get(token);
      if (named !== undefined && !tried.includes(named)) return named;
      const count = options.servers ?? TOKENS.length;
      return Array.from({ length: count }).findIndex((_, index) => !tried.includes(index));
    },
    connect: (server, mayReuse) => {
      assert.equal(wanted ?? current, undefined, "one connection at a time");
      wanted = { server, mayReuse };
    },
    releaseServer: (isReusable) => {
      assert.ok(wanted ?? current, "only what was asked for is released");
      wanted = undefined;
      if (current !== undefined) current.isReusable = isReusable;
      current = undefined;
    },
    clientHead: () => assert.fail("there is no stream"),
    refuseStream: () => assert.fail("there is no stream"),
    tunnelBegins: () => record.counts.push("tunnel"),
    endClient: () => record.halves.push("client"),
    endServer: () => record.halves.push("server"),
    closeClient: () => {
      assert.equal(record.end, "");
      record.end = "closed";
      record.lingers = !state.isRequestDone || state.hasUnread;
    },
    abortClient: () => {
      assert.equal(record.end, "");
      record.end = "aborted";
    },
    noteRefused: (kind, status, bytes, start, end, isWhole) =>
      record.refused.push([kind, status, bytes.latin1Slice(start, end), isWhole]),
    errorPage: (status) => options.pages?.get(status),
    takeFromLimit: (rule) => options.limits?.(rule) ?? 0,
    newTraceId: () => "0123456789abcdef".repeat(3),
    newRequestId: () => "made-here",
    newWebsocketKey: () => "dGhlIHNhbXBsZSBub25jZQ==",
    requestBegins: () => {
      assert.equal(record.isRequest, false, "one request after the other");
      record.isRequest = true;
    },
    requestEnds: (end) => {
      assert.equal(record.isRequest, true, "a request ends once");
      record.isRequest = false;
      if (coder !== undefined) closeCoder(coder);
      coder = undefined;
      record.ends.push({ end, line: state.logged?.line });
    },
    countRequest: (server, by) => record.counts.push(`request ${server} ${by}`),
    countResponse: (server, status) => record.counts.push(`response ${server} ${status}`),
    countServerFailure: (server) => record.counts.push(`failure ${server}`),
    countOwnAnswer: (status) => record.counts.push(`own ${status}`),
  };

  /** Every input goes through here. */
  function input<R>(handler: (s: session.Session) => R): R {
    if (options.revives === true) state = revived(state);
    const result = handler(state);
    assert.ok(
      state.requestHead.length <= 2 * env.limits.request_head_bytes + 1024,
      "the kept head is bounded",
    );
    assert.ok(state.responsePart.length <= env.limits.response_head_bytes, "the kept part is bounded");
    return result;
  }

  function offer(): number {
    assert.ok(held.length <= RECEIVE_BUFFER_BYTES, "what is not taken stays within the receive buffer");
    const buffer = Buffer.concat([Buffer.from("??"), held, Buffer.from("??")]);
    const stop = input((s) => session.onClientBytes(s, env, port, buffer, 2, 2 + held.length));
    assert.ok(stop >= 2 && stop <= 2 + held.length);
    held = Buffer.from(buffer.subarray(stop, buffer.length - 2));
    buffer.fill(0xee);
    return stop - 2;
  }

  function connect(): void {
    const { server, mayReuse } = wanted!;
    wanted = undefined;
    if (options.refusing?.includes(server) === true) {
      input((s) => session.onServerFailed(s, env, port));
      return;
    }
    current = { server, mayReuse, text: "", isReusable: undefined };
    record.exchanges.push(current);
    input((s) => session.onServerConnected(s, env, port, mayReuse && options.hasIdle === true));
  }

  const mayRead = (): boolean =>
    session.takesClientBytes(state) ||
    (options.readsAhead === true && held.length + (kernel[0]?.length ?? 0) <= RECEIVE_BUFFER_BYTES);

  function read(): void {
    const piece = kernel.shift()!;
    if (piece === "end") {
      input((s) => session.onClientEnd(s, env, port));
      return;
    }
    held = Buffer.concat([held, piece]);
    offer();
  }

  /** Goes on until the session waits for something from outside. */
  function settle(): void {
    for (let turns = 0; record.end === ""; turns++) {
      assert.ok(turns < 1_000_000, "no input goes on for ever");
      if (wanted !== undefined) {
        if (options.isConnectHeld === true) return;
        connect();
      } else if (held.length > 0 && session.takesClientBytes(state) && offer() > 0) continue;
      else if (wanted === undefined && kernel.length > 0 && mayRead()) read();
      else if (wanted === undefined) return;
    }
  }

  return {
    record,
    env,
    /** The session as it stands. */
    get state() {
      return state;
    },
    get isConnected() {
      return current !== undefined;
    },
    client(data: string | Buffer): void {
      const bytes = bytesOf(data);
      for (let at = 0; at < bytes.length; at += 16_384) kernel.push(bytes.subarray(at, at + 16_384));
      settle();
    },
    /** Offers bytes as they are, and keeps nothing of them. */
    offerOnly(bytes: Buffer): number {
      return input((s) => session.onClientBytes(s, env, port, bytes, 0, bytes.length));
    },
    clientEnd(): void {
      kernel.push("end");
      settle();
    },
    clientLost(): void {
      input((s) => session.onClientLost(s, env, port));
    },
    server(data: string | Buffer): void {
      assert.ok(current, "a web server that speaks is connected");
      const buffer = Buffer.from(bytesOf(data));
      input((s) => session.onServerBytes(s, env, port, buffer, 0, buffer.length));
      buffer.fill(0xee);
      settle();
    },
    serverEnd(): void {
      const ending = current;
      input((s) => session.onServerEnd(s, env, port));
      assert.notEqual(ending?.isReusable, true, "an ended connection is not reused");
      const isTunnel = state.phase === PHASE.tunnel;
      assert.ok(ending === undefined || current !== ending || isTunnel, "an ended connection is let go of");
      settle();
    },
    serverLost(): void {
      input((s) => session.onServerLost(s, env, port));
      assert.equal(current, undefined, "a lost connection is let go of");
      settle();
    },
    connected(isReused = false): void {
      const { server, mayReuse } = wanted!;
      wanted = undefined;
      current = { server, mayReuse, text: "", isReusable: undefined };
      record.exchanges.push(current);
      input((s) => session.onServerConnected(s, env, port, isReused));
      settle();
    },
    failed(): void {
      wanted = undefined;
      input((s) => session.onServerFailed(s, env, port));
      settle();
    },
    turn(): void {
      isBusy = false;
      input((s) => session.onTurn(s, env, port));
      settle();
    },
    overdue(): void {
      input((s) => session.onOverdue(s, port));
      settle();
    },
    timeout(): void {
      input((s) => session.onTimeout(s, env, port));
      settle();
    },
    drain(): void {
      input((s) => session.onDrain(s, env, port));
      settle();
    },
    /** The text that the last web server got. */
    get lastRequest(): string {
      return record.exchanges.at(-1)?.text ?? "";
    },
  };
}
export type Engine = ReturnType<typeof createEngine>;

/** The statuses of the responses in what a client got. */
export const statuses = (text: string): number[] =>
  [...text.matchAll(/HTTP\/1\.1 (\d{3})/g)].map(([, status]) => Number(status));

/** Head fields of the last message in `text` as lower-case name → values. */
export function fieldsOf(text: string): Map<string, string[]> {
  const lines = text.slice(0, text.indexOf("\r\n\r\n")).split("\r\n").slice(1);
  const fields = new Map<string, string[]>();
  for (const line of lines) {
    const [, name, value] = /^([^:]+):[ \t]*(.*)$/.exec(line)!;
    fields.set(name!.toLowerCase(), [...(fields.get(name!.toLowerCase()) ?? []), value!]);
  }
  return fields;
}

export const OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
