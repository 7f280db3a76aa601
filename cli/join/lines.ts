/** A conversation in lines over a TLS connection: each side says a line and waits for the other's. */
import type { TLSSocket } from "node:tls";
import { DlbaError } from "../../conf/errors.ts";
import { lineReader } from "../../net/lines.ts";

export interface Conversation {
  readonly say: (line: string) => void;
  /** The next line. Rejects with DlbaError JOIN_TOO_LONG, JOIN_BROKEN, or as the socket fails. */
  readonly hear: () => Promise<string>;
}

/** `line_bytes`: the longest line that is taken from the other side. */
export function converse(socket: TLSSocket, line_bytes: number): Conversation {
  const lines: string[] = [];
  let waiting: PromiseWithResolvers<string> | undefined;
  let end: Error | undefined;
  const fail = (error: Error): void => {
    end ??= error;
    waiting?.reject(end);
    waiting = undefined;
    socket.destroy();
  };
  const reader = lineReader(
    line_bytes,
    (line) => {
      if (waiting === undefined) lines.push(line);
      else waiting.resolve(line);
      waiting = undefined;
      // Nobody says two lines before he is answered.
      if (lines.length > 1) fail(new DlbaError("JOIN_BROKEN", "the other side says more than it is asked"));
    },
    () => fail(new DlbaError("JOIN_TOO_LONG", `the other side sent a line of more than ${line_bytes} bytes`)),
  );
  socket.on("data", reader.push);
  socket.on("error", fail);
  socket.on("close", () => fail(new DlbaError("JOIN_BROKEN", "the connection ended before all was said")));
  return {
    say: (line) => void socket.write(`${line}\n`),
    hear: async () => {
      const line = lines.shift();
      if (line !== undefined) return line;
      if (end !== undefined) throw end;
      waiting = Promise.withResolvers();
      return waiting.promise;
    },
  };
}
