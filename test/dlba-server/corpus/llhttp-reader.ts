/** What Node's own strict parser (llhttp) makes of bytes: the second opinion on what a web server is sent. */
import { createRequire } from "node:module";

interface Parser {
  initialize(type: number, resource: object): void;
  execute(bytes: Buffer): number | (Error & { readonly code: string });
  finish(): Error | undefined;
  [event: number]: ((...facts: readonly unknown[]) => void) | undefined;
}
interface ParserClass {
  new (): Parser;
  readonly REQUEST: number;
  readonly kOnBody: number;
  readonly kOnMessageComplete: number;
}

/** Node hands it to its own http module only; its undocumented module is the one way to call it without a socket. */
const { HTTPParser } = createRequire(import.meta.url)("_http_common") as { HTTPParser: ParserClass };

export interface LlhttpReading {
  /** The body of each whole request. */
  readonly bodies: readonly string[];
  /** The code of the error that ended it, or "". */
  readonly error: string;
}

/** Reads requests until the bytes end or are wrong. */
export function readByLlhttp(text: string): LlhttpReading {
  const parser = new HTTPParser();
  parser.initialize(HTTPParser.REQUEST, {});
  const bodies: string[] = [];
  let body = "";
  parser[HTTPParser.kOnBody] = (piece) => (body += (piece as Buffer).latin1Slice());
  parser[HTTPParser.kOnMessageComplete] = () => {
    bodies.push(body);
    body = "";
  };
  const outcome = parser.execute(Buffer.from(text, "latin1"));
  return { bodies, error: typeof outcome === "number" ? "" : outcome.code };
}
