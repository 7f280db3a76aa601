/**
 * Rows of the corpus over real sockets: a worker on loopback, behind it web servers below HTTP that keep all bytes they get.
 * After each row a probe goes through: a request of somebody else's, which must come to the web server and be answered as if
 * nothing had been before it.
 */
import { connect, type Socket } from "node:net";
import { once } from "node:events";
import { rawServer, readAll, startRig, until } from "../engine/rig.ts";
import {
  asStatedRequest,
  asStatedResponse,
  CORPUS_LIMITS,
  type RequestRow,
  type ResponseRow,
} from "./corpus.ts";
import { readRequests, readResponses } from "./strict-reader.ts";

/** What became of a row's bytes. */
export interface Treatment {
  /** Statuses of the whole responses that the client got; whether one more broke off. */
  readonly answers: readonly number[];
  readonly isCut: boolean;
  /** All that the client got, without the fields that the proxy adds. */
  readonly said: string;
  /** The requests that reached web servers, without the fields that the proxy adds; whether one more broke off. */
  readonly goesOn: readonly string[];
  readonly breaksOff: boolean;
  /** The web server's last connection served the probe. */
  readonly isKept: boolean;
}

interface Connection {
  readonly socket: Socket;
  text: string;
  /** Up to here its bytes have been told of. */
  told: number;
  isClosed: boolean;
}

const answerTo = (request: string): string =>
  request.startsWith("HEAD ")
    ? "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"
    : "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/** The methods of the requests in `text`, as far as they can be read. */
export const methodsIn = (text: string): string[] => {
  const methods = readRequests(text).messages.map(({ what }) => what);
  return text.startsWith("HEAD ") && methods.length === 0 ? ["HEAD"] : methods;
};

/** A raw web server, and what reached it through the lane's port of the worker. */
export function createLane() {
  const connections: Connection[] = [];
  let response: ResponseRow | undefined;
  let probes = 0;

  function answer(connection: Connection, request: string): void {
    if (response === undefined || request.includes(" /probe")) connection.socket.write(answerTo(request));
    else if (response.closes === true) connection.socket.end(response.response, "latin1");
    else connection.socket.write(response.response, "latin1");
  }

  function onConnection(socket: Socket): void {
    const connection: Connection = { socket, text: "", told: 0, isClosed: false };
    connections.push(connection);
    let answered = 0;
    socket.on("data", (data: Buffer) => {
      connection.text += data.latin1Slice();
      for (const { text } of readRequests(connection.text.slice(answered)).messages) {
        answered += text.length;
        answer(connection, text);
      }
    });
    socket.on("close", () => (connection.isClosed = true));
  }

  /** What all connections have got since the last call. */
  async function heard(): Promise<{ requests: string[]; breaksOff: boolean }> {
    const requests: string[] = [];
    let breaksOff = false;
    for (const connection of connections) {
      const { messages, rest } = readRequests(connection.text.slice(connection.told));
      if (rest !== "") {
        await until(() => connection.isClosed, `what came is not whole: ${JSON.stringify(connection.text)}`);
        breaksOff = true;
      }
      connection.told = connection.text.length;
      requests.push(...messages.map(({ text }) => text));
    }
    return { requests, breaksOff };
  }

  /** Sends somebody else's request, which must come through as it should. Returns the connection that carried it. */
  async function probe(port: number): Promise<Connection> {
    const request = `GET /probe-${probes++} HTTP/1.1\r\nHost: probe\r\n\r\n`;
    const said = await ask(port, request);
    const carrier = connections.find(({ text, told }) => told < text.length);
    const { requests, breaksOff } = await heard();
    const came = requests.map(asStatedRequest);
    if (carrier === undefined || breaksOff || came.length !== 1 || came[0] !== request)
      throw new Error(`instead of the probe came ${JSON.stringify(came)}`);
    const { messages, rest } = readResponses(said, ["GET"], true);
    if (rest !== "" || messages.length !== 1 || messages[0]!.body !== "ok")
      throw new Error(`the probe was answered with ${JSON.stringify(said)}`);
    return carrier;
  }

  async function treat(port: number, row: RequestRow | ResponseRow): Promise<Treatment> {
    response = "response" in row ? row : undefined;
    const said = await ask(port, row.request);
    const isReset = said.endsWith("<read ECONNRESET>");
    const { requests, breaksOff } = await heard();
    const last = connections.at(-1);
    const carrier = await probe(port);
    const text = isReset ? said.slice(0, said.lastIndexOf("<")) : said;
    const { messages, rest } = readResponses(text, methodsIn(row.request), !isReset);
    return {
      answers: messages.map(({ what }) => Number(what)),
      isCut: isReset || rest !== "",
      said: messages.map(({ text: one }) => asStatedResponse(one)).join(""),
      goesOn: requests.map(asStatedRequest),
      breaksOff,
      isKept: carrier === last,
    };
  }

  const close = (): void => connections.forEach(({ socket }) => socket.destroy());
  return { onConnection, heard, probe, treat, close };
}

const LANES = 16;

/**
 * What becomes of each row: sixteen at a time, each on a lane of its own, a vserver, pool and web server that no other row
 * uses at that time. A row's error stands for its treatment.
 */
export async function treatAll<Row extends RequestRow | ResponseRow>(
  rows: readonly Row[],
): Promise<Map<Row, Treatment | Error>> {
  const lanes = Array.from({ length: LANES }, createLane);
  const servers = await Promise.all(lanes.map(async (lane) => await rawServer(lane.onConnection)));
  const rig = await startRig({
    serverPorts: [servers[0]!.port],
    lanes: servers.map(({ port }) => port),
    limits: CORPUS_LIMITS,
    vserver: { request_id: false },
  });
  const treatments = new Map<Row, Treatment | Error>();
  const waiting = rows.values();
  const goThrough = async (lane: (typeof lanes)[number], port: number): Promise<void> => {
    for (const row of waiting) {
      const treatment = await lane.treat(port, row).catch((error: unknown) => error as Error);
      treatments.set(row, treatment);
    }
  };
  await Promise.all(lanes.map(async (lane, i) => await goThrough(lane, rig.lanePorts[i]!)));
  await rig.stop();
  for (const lane of lanes) lane.close();
  for (const { server } of servers) {
    server.close();
    await once(server, "close");
  }
  return treatments;
}

/** Sends bytes and ends; all that comes back. */
async function ask(port: number, request: string): Promise<string> {
  const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
  socket.end(request, "latin1");
  const said = await readAll(socket);
  return said;
}
