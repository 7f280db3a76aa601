/** Rows of the corpus in a session alone, their bytes cut in two wherever one likes. */
import { createEngine, testEnv, testPool } from "../recorder-port.ts";
import {
  asStatedRequest,
  asStatedResponse,
  CORPUS_LIMITS,
  type RequestRow,
  type ResponseRow,
} from "./corpus.ts";
import { readRequests, readResponses } from "./strict-reader.ts";
import { methodsIn, type Treatment } from "./wire.ts";

const OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const OK_TO_HEAD = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n";

/** Where bytes are cut in two; 0: not at all. */
export interface Cut {
  readonly request: number;
  readonly response: number;
}
const pieces = (text: string, at: number): string[] =>
  [text.slice(0, at), text.slice(at)].filter((piece) => piece !== "");

const env = testEnv({ limits: CORPUS_LIMITS });
const envWithoutCookie = testEnv({ limits: CORPUS_LIMITS, pools: [testPool({ scheduling: "url-hash" })] });

/** What becomes of a row. */
export function treatInSession(row: RequestRow | ResponseRow, cut: Cut): Treatment {
  const engine = createEngine({ env: "response" in row ? envWithoutCookie : env, hasIdle: true });
  const { record } = engine;
  const answerWhole = (): void => {
    while (record.end === "" && engine.isConnected) {
      const asked = record.exchanges.length;
      if (readRequests(engine.lastRequest).messages.length === 0) return;
      respond(asked);
      if (record.exchanges.length === asked && engine.isConnected) return;
    }
  };
  const isSame = (asked: number): boolean => engine.isConnected && record.exchanges.length === asked;
  function respond(asked: number): void {
    const ok = engine.lastRequest.startsWith("HEAD ") ? OK_TO_HEAD : OK;
    const said = "response" in row ? pieces(row.response, cut.response) : [ok];
    for (const piece of said) if (isSame(asked)) engine.server(piece);
    if ("response" in row && row.closes === true && isSame(asked)) engine.serverEnd();
  }
  for (const piece of pieces(row.request, cut.request)) {
    if (record.end === "") engine.client(piece);
    answerWhole();
  }
  if (record.end === "") engine.clientEnd();
  answerWhole();
  return treatmentOf(row, record);
}

function treatmentOf(
  row: RequestRow | ResponseRow,
  record: ReturnType<typeof createEngine>["record"],
): Treatment {
  const read = record.exchanges.map(({ text }) => readRequests(text));
  const isClosed = record.end === "closed";
  const { messages, rest } = readResponses(record.toClient, methodsIn(row.request), isClosed);
  return {
    answers: messages.map(({ what }) => Number(what)),
    isCut: !isClosed || rest !== "",
    said: messages.map(({ text }) => asStatedResponse(text)).join(""),
    goesOn: read.flatMap(({ messages: whole }) => whole.map(({ text }) => asStatedRequest(text))),
    breaksOff: read.some(({ rest: left }) => left !== ""),
    isKept: record.exchanges.at(-1)?.isReusable === true,
  };
}
