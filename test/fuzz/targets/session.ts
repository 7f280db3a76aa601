/**
 * Whole sessions: a client and web servers that say anything, in any order. Whatever they say: nothing throws, what is kept is
 * bounded (the recorder asserts it), the pieces that it comes in make no difference, each exchange that is over is exactly one
 * request for two readers that know nothing of the proxy, and what the client gets are responses that can be read in one way.
 *
 * An input is what both sides say: text, with a code above 255 in front of whatever comes next.
 */
import assert from "node:assert/strict";
import { requestRows, responseRows } from "../../dlba-server/corpus/corpus.ts";
import { readByLlhttp } from "../../dlba-server/corpus/llhttp-reader.ts";
import { readRequests, readResponses } from "../../dlba-server/corpus/strict-reader.ts";
import {
  createEngine,
  type Engine,
  type EngineOptions,
  testEnv,
  testPool,
} from "../../dlba-server/recorder-port.ts";
import { randomWords } from "../../../conf/random.ts";
import { HTTP_WORDS, makeRequest, makeResponse } from "../grammar.ts";
import { below, oneOf, type Random, type Target } from "../target.ts";

const CLIENT = "\u0100";
const SERVER = "\u0101";
const CLIENT_ENDS = "\u0102";
const SERVER_ENDS = "\u0103";
const TIMEOUT = "\u0104";
const DRAIN = "\u0105";
const EVENT = /[\u0100-\uffff]/;

const limits = {
  request_head_bytes: 1024,
  request_target_bytes: 256,
  request_body_bytes: 2000,
  response_head_bytes: 1024,
};
const ENVS = [
  testEnv({ limits }),
  testEnv({ limits, pools: [testPool({ scheduling: "url-hash", serverKeepAlive: false })] }),
];

interface Step {
  readonly event: string;
  readonly text: string;
}

/** What comes before the first event is the client's. */
function stepsOf(input: string): Step[] {
  const steps: Step[] = [];
  let [event, from] = [CLIENT, 0];
  for (let at = 0; at <= input.length; at++) {
    if (at < input.length && !EVENT.test(input[at]!)) continue;
    steps.push({ event, text: input.slice(from, at) });
    event = input[at] ?? "";
    from = at + 1;
  }
  return steps;
}

type CutText = (text: string) => string[];

function say(engine: Engine, { event, text }: Step, cut: CutText): void {
  switch (event) {
    case SERVER: {
      const asked = engine.record.exchanges.length;
      for (const piece of cut(text)) {
        const isSame = engine.isConnected && engine.record.exchanges.length === asked;
        if (isSame && engine.record.end === "") engine.server(piece);
      }
      return;
    }
    case CLIENT_ENDS:
      if (!engine.state.isClientEnded) engine.clientEnd();
      return;
    case SERVER_ENDS:
      if (engine.isConnected) engine.serverEnd();
      return;
    case TIMEOUT:
      return engine.timeout();
    case DRAIN:
      return engine.drain();
    default:
      if (engine.state.isClientEnded) return;
      for (const piece of cut(text)) if (engine.record.end === "") engine.client(piece);
  }
}

function play(steps: readonly Step[], options: EngineOptions, cut: CutText): Engine {
  const engine = createEngine(options);
  for (const step of steps) if (engine.record.end === "") say(engine, step, cut);
  return engine;
}

/** What client, web servers and tables saw. Whether bytes come with a response or later decides over reuse alone. */
const outcomeOf = ({ record, state }: Engine): object => ({
  toClient: record.toClient,
  end: record.end,
  counts: record.counts,
  choices: record.choices,
  ends: record.ends,
  exchanges: record.exchanges.map(({ server, text }) => ({ server, text })),
  phase: state.phase,
});

function checkExchanges({ record }: Engine): void {
  for (const { text, isReusable } of record.exchanges) {
    const { messages, rest } = readRequests(text);
    const isOne = messages.length === 1 ? rest === "" : messages.length === 0 && rest !== "bad";
    assert.ok(isOne, `a web server got ${JSON.stringify(text)}`);
    if (isReusable === true)
      assert.equal(messages.length, 1, `its connection serves on after ${JSON.stringify(text)}`);
    const read = readByLlhttp(text);
    if (read.error !== "HPE_INVALID_METHOD")
      assert.deepEqual([read.bodies.length, read.error], [messages.length, ""], JSON.stringify(text));
  }
}

function checkResponses({ record }: Engine): void {
  const methods = record.ends.map(({ line }) => line?.split(" ")[0] ?? "");
  const { rest } = readResponses(record.toClient, methods, record.end === "closed");
  assert.notEqual(rest, "bad", `the client got ${JSON.stringify(record.toClient)}`);
}

const single: CutText = (text) => Array.from(text);

function check(input: string): void {
  const random = randomWords(input.length);
  const steps = stepsOf(input);
  const env = ENVS[input.length & 1]!;
  const whole = play(steps, { env, hasIdle: true }, (text) => (text === "" ? [] : [text]));
  checkExchanges(whole);
  checkResponses(whole);
  if (whole.record.end !== "") assert.equal(whole.isConnected, false, "no web server is left behind");
  const expected = outcomeOf(whole);
  assert.deepEqual(
    outcomeOf(play(steps, { env, hasIdle: true, revives: true }, single)),
    expected,
    "byte by byte",
  );
  const options = { env, hasIdle: true, readsAhead: true };
  assert.deepEqual(outcomeOf(play(steps, options, (text) => piecesOf(text, random))), expected, "in pieces");
}

function piecesOf(text: string, random: Random): string[] {
  const pieces: string[] = [];
  for (let at = 0; at < text.length;) {
    const length = 1 + below(random, 40);
    pieces.push(text.slice(at, at + length));
    at += length;
  }
  return pieces;
}

function make(random: Random): string {
  let input = "";
  for (let left = 1 + below(random, 3); left > 0; left--) input += makeRequest(random);
  for (let left = 1 + below(random, 3); left > 0; left--) {
    input += SERVER + makeResponse(random);
    if (below(random, 4) === 0) input += oneOf(random, [SERVER_ENDS, TIMEOUT, DRAIN, CLIENT_ENDS]);
    if (below(random, 3) === 0) input += CLIENT + makeRequest(random);
  }
  return input + oneOf(random, ["", CLIENT_ENDS, SERVER_ENDS]);
}

const RESPONSE = `${SERVER}HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok`;
const isShort = (text: string): boolean => text.length < 1500;

export const session: Target = {
  name: "session",
  batch: 150,
  seeds: [
    ...[...requestRows.values()].flat().map(({ request }) => request + RESPONSE + CLIENT_ENDS),
    ...responseRows.map(
      ({ request, response, closes }) =>
        `${request}${SERVER}${response}${closes === true ? SERVER_ENDS : ""}`,
    ),
  ].filter(isShort),
  words: [...HTTP_WORDS, CLIENT, SERVER, CLIENT_ENDS, SERVER_ENDS, TIMEOUT, DRAIN, RESPONSE],
  make,
  check,
};
