/** A WebSocket client over HTTP/2 (RFC 8441): Node's http2, and as much of RFC 6455's framing as echoes need. */
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { type ClientHttp2Session, connect } from "node:http2";
import { Closed, createDesk, type EchoClient } from "./echo-clients.ts";

const BINARY = 2;

/** A whole message in one masked frame, as clients have to mask. */
function frameOf(message: Buffer): Buffer {
  const { length } = message;
  const head =
    length < 126
      ? Buffer.from([0x80 | BINARY, 0x80 | length])
      : length < 65_536
        ? Buffer.from([0x80 | BINARY, 0x80 | 126, length >> 8, length & 255])
        : Buffer.concat([Buffer.from([0x80 | BINARY, 0x80 | 127, 0, 0, 0, 0]), wordOf(length)]);
  const mask = randomBytes(4);
  const masked = Buffer.from(message);
  for (let i = 0; i < length; i++) masked[i]! ^= mask[i & 3]!;
  return Buffer.concat([head, mask, masked]);
}

function wordOf(value: number): Buffer {
  const word = Buffer.alloc(4);
  word.writeUInt32BE(value);
  return word;
}

/** Takes unmasked frames out of a stream of bytes; returns what is left. */
function takeFrames(bytes: Buffer, onMessage: (opcode: number, message: Buffer) => void): Buffer {
  let left = bytes;
  for (;;) {
    if (left.length < 2) return left;
    const short = left[1]! & 127;
    const at = short < 126 ? 2 : short === 126 ? 4 : 10;
    if (left.length < at) return left;
    const length =
      short < 126 ? short : short === 126 ? left.readUInt16BE(2) : Number(left.readBigUInt64BE(2));
    if (left.length < at + length) return left;
    onMessage(left[0]! & 15, Buffer.from(left.subarray(at, at + length)));
    left = left.subarray(at + length);
  }
}

/** A connection to open WebSockets on, as long as it lasts. */
export async function openHttp2(port: number, ca: Buffer): Promise<EchoClient> {
  const session = connect(`https://localhost:${port}`, { ca });
  session.on("error", () => {});
  try {
    await once(session, "remoteSettings");
    return await openStream(session);
  } catch {
    session.destroy();
    throw new Closed("could not be opened");
  }
}

async function openStream(session: ClientHttp2Session): Promise<EchoClient> {
  const stream = session.request({
    ":method": "CONNECT",
    ":protocol": "websocket",
    ":scheme": "https",
    ":authority": "localhost",
    ":path": "/echo",
    "sec-websocket-version": "13",
  });
  const desk = createDesk();
  stream.on("error", (error) => desk.ended(error.message));
  stream.on("close", () => desk.ended(`closed with ${stream.rstCode}`));
  stream.on("end", () => desk.ended("ended"));
  const [headers] = (await once(stream, "response")) as [Record<string, unknown>];
  if (headers[":status"] !== 200) throw new Closed(`answered ${String(headers[":status"])}`);
  let pieces: Buffer[] = [];
  let needed_bytes = 2;
  let held_bytes = 0;
  stream.on("data", (data: Buffer) => {
    pieces.push(data);
    held_bytes += data.length;
    if (held_bytes < needed_bytes) return;
    const left = takeFrames(
      Buffer.concat(pieces),
      (opcode, message) => opcode === BINARY && desk.arrived(message),
    );
    pieces = [left];
    held_bytes = left.length;
    // A big message is put together once, not with each of its pieces.
    const isLong = left.length >= 10 && (left[1]! & 127) === 127;
    needed_bytes = isLong ? Number(left.readBigUInt64BE(2)) + 10 : 2;
  });
  return {
    kind: "http/2 over TLS",
    echo: async (message) => desk.ask(() => stream.write(frameOf(message))),
    close: () => {
      stream.close();
      session.destroy();
    },
  };
}
