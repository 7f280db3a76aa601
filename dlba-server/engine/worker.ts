/**
 * A worker's event loop: one epoll set over all its sockets, one turn after the other.
 *
 * Node's own loop (signals, timers, the monitoring connection) is nested: its descriptor stands in the same
 * epoll set, so nothing is polled, and whoever has something to do wakes the process. A turn that finds Node's
 * loop ready gives way to it.
 */
import { randomBytes } from "node:crypto";
import * as limits from "../../conf/limits.ts";
import { type Cidr, type IpAddress, parseIp, cidrContains } from "../../conf/address.ts";
import type { Config } from "../../conf/schema.ts";
import type { Logger } from "../../status/log.ts";
import { bind, errno, nativeMemory, ownBinary, SysError } from "../../net/ffi.ts";
import { clearSslErrors, takeSslError } from "../../net/openssl.ts";
import { acceptInMemory } from "../../net/openssl-memory.ts";
import * as sockets from "../../net/sockets.ts";
import { openAccessLog } from "./access-log.ts";
import { MOST_PROXY_HEADER_BYTES, readProxyHeader } from "../proxy-header.ts";
import type { SessionEnv } from "../session-port.ts";
import { PREFACE } from "../http2/wire.ts";
import { destroyClient, readLingering, startLinger } from "./closing.ts";
import * as exchange from "./exchange.ts";
import * as mux from "./mux.ts";
import { port as sessionPort } from "./port.ts";
import * as upstream from "./upstream.ts";
import type { UpstreamMux } from "./upstream-streams.ts";
import type {
  ClientConnection,
  Connection,
  Exchange,
  Listener,
  PoolRuntime,
  ServerConnection,
  Waiting,
  VserverRuntime,
  Worker,
} from "./runtime.ts";
import { agreed, HANDSHAKE, sendTickets, shakeHands } from "./handshake.ts";
import { addConnection, clientKey } from "../rules/client-connections.ts";
import { TOO_MANY_CONNECTIONS } from "../rules/rules.ts";
import { createRefusals } from "./refusals.ts";
import { hold, isCrowded, isSurplus } from "./load.ts";
import { closeServer, isTlsAlive } from "./server-connections.ts";
import { CUT, END, NOT_MOVED, WOULD_BLOCK } from "./reading.ts";
import { createRecords } from "./records.ts";
import { createStage, createStream, drainQueue, readStream, received } from "./stream.ts";
import { advance, arm, createTimerWheel, untilNext_ms } from "./timer-wheel.ts";

const uvDefaultLoop = bind<[], number>(ownBinary(), "uintptr_t uv_default_loop()");
const uvBackendFd = bind<[number], number>(ownBinary(), "int uv_backend_fd(uintptr_t loop)");

/** Node's timers (reconnects, clean-ups) may come this late; its sockets and signals wake the loop at once. */
const IDLE_BLOCK_MS = 50;
/** Reads of one connection before others have a turn. */
const READS_PER_TURN = 8;
/** How long turns follow one another under load before Node's loop is looked at. */
const BUSY_SLICE_MS = 5;
const ACCEPT_PAUSE_MS = 100;

const events = nativeMemory(limits.EVENTS_PER_TURN * sockets.EPOLL_EVENT_WORDS * 4);
const eventWords = new Int32Array(events.bytes.buffer, events.bytes.byteOffset, events.bytes.length / 4);

export function createWorker(
  config: Config,
  pools: readonly PoolRuntime[],
  log: Logger,
  nodeName: string,
): Worker {
  const now_ms = performance.now();
  const worker: Worker = {
    config,
    log,
    epoll: sockets.createEpoll(),
    wheel: createTimerWheel(now_ms),
    listeners: new Map(),
    connections: [],
    clients: new Set(),
    pools,
    waitingPools: pools.filter(({ room }) => room !== undefined),
    vservers: new Set(),
    counters: {
      accepted: 0,
      requests: 0,
      tunnels: 0,
      open_tunnels: 0,
      tls_handshakes: 0,
      tls_resumed: 0,
      tls_failures: 0,
      proxy_failures: 0,
      response_time_sum_us: 0,
      response_time_count: 0,
      responses: [0, 0, 0, 0, 0, 0],
      own_answers: new Map(),
    },
    accessLog: config.access_log === undefined ? undefined : openAccessLog(config.access_log, log),
    nodeName,
    refusals: createRefusals(),
    rateTable: undefined,
    coders: 0,
    requestIds: { prefix: randomBytes(8).toString("hex"), count: 0 },
    clientStage: createStage(limits.STAGE_BUFFER_BYTES),
    serverStage: createStage(limits.STAGE_BUFFER_BYTES),
    holdingTickets: [],
    again: [],
    generation: 0,
    now_ms,
    isAccepting: true,
    isDraining: false,
  };
  exchange.bindWorker(worker);
  mux.bindMuxes(worker);
  upstream.bindUpstreams(worker);
  return worker;
}

export function addListener(worker: Worker, listener: Listener): void {
  worker.listeners.set(listener.fd, listener);
  worker.vservers.add(listener.vserver);
  // Else it is watched when connections are accepted again.
  if (worker.isAccepting) sockets.watchReadable(worker.epoll, listener.fd);
}

/** What waits there is somebody else's from now on; the socket stays open. */
export function removeListener(worker: Worker, { fd }: Listener): void {
  worker.listeners.delete(fd);
  if (worker.isAccepting) sockets.unwatch(worker.epoll, fd);
}

/** Runs until `isDone` says so; returns at once and goes on in Node's loop. */
export function runWorker(worker: Worker, isDone: () => boolean): void {
  const uvFd = uvBackendFd(uvDefaultLoop());
  sockets.watchReadable(worker.epoll, uvFd);
  const slice = (): void => {
    if (isDone()) return;
    runSlice(worker, uvFd);
    setImmediate(slice);
  };
  setImmediate(slice);
}

/** Turns follow one another while there is work; ends when Node's loop is ready, or has waited long enough. */
function runSlice(worker: Worker, uvFd: number): void {
  const end_ms = performance.now() + BUSY_SLICE_MS;
  for (;;) {
    const isUvReady = turn(worker, uvFd);
    if (isUvReady || worker.now_ms >= end_ms) return;
  }
}

/** One wait and all that came of it. Returns whether Node's loop has something to do. */
function turn(worker: Worker, uvFd: number): boolean {
  const until_ms = worker.again.length > 0 ? 0 : untilNext_ms(worker.wheel, worker.now_ms);
  const timeout_ms = Math.min(Math.ceil(until_ms), IDLE_BLOCK_MS);
  const count = sockets.epollWait(worker.epoll, events.address, limits.EVENTS_PER_TURN, timeout_ms);
  worker.now_ms = performance.now();
  let isUvReady = false;
  for (let i = 0; i < count; i++) {
    const at = i * sockets.EPOLL_EVENT_WORDS;
    const fd = eventWords[at + sockets.EPOLL_EVENT_FD_WORD]!;
    const connection = worker.connections[fd];
    if (connection !== undefined) {
      // A descriptor may have been closed and given out anew since the kernel noted this event.
      if (connection.stream.generation === eventWords[at + sockets.EPOLL_EVENT_GENERATION_WORD]) {
        handleEvents(worker, connection, eventWords[at]!);
      }
    } else if (fd === uvFd) isUvReady = true;
    else acceptClients(worker, fd);
  }
  readAgain(worker);
  for (const pool of worker.waitingPools) exchange.goOnWaiting(pool);
  advance(worker.wheel, worker.now_ms, (waiting) => fire(worker, waiting));
  mux.flushMuxes();
  upstream.flushUpstreams();
  if (worker.holdingTickets.length > 0) sendTickets(worker);
  return isUvReady;
}

function readAgain(worker: Worker): void {
  const waiting = worker.again;
  if (waiting.length === 0) return;
  worker.again = [];
  for (const connection of waiting) {
    connection.isQueuedAgain = false;
    if (!connection.stream.isClosed) readConnection(worker, connection);
  }
}

function handleEvents(worker: Worker, connection: Connection, flags: number): void {
  const { stream } = connection;
  if (connection.kind === "server" && stream.isConnecting) {
    if (connection.upstreams === undefined) exchange.connectConcluded(connection);
    else upstream.upstreamConcluded(connection, false);
    if (stream.isClosed || stream.isConnecting) return;
  }
  if ((flags & (sockets.EPOLLRDHUP | sockets.EPOLLHUP | sockets.EPOLLERR)) !== 0) stream.hasPeerEnded = true;
  if ((flags & sockets.EPOLLOUT) !== 0 && stream.pending_bytes > 0) {
    if (connection.kind === "client" && connection.isHandshaking) drainQueue(stream, worker.now_ms);
    else if (connection.kind === "client" && connection.mux !== undefined) mux.muxDrained(connection);
    else if (connection.kind === "server" && connection.upstreams !== undefined)
      upstream.upstreamDrained(connection);
    else exchange.streamDrained(connection);
    if (stream.isClosed) return;
  }
  if ((flags & (sockets.EPOLLIN | sockets.EPOLLRDHUP | sockets.EPOLLHUP | sockets.EPOLLERR)) === 0) return;
  // What is left of an earlier read stands in OpenSSL's buffer: then one short record says nothing of the kernel's.
  stream.isFresh = !stream.isReadable;
  stream.isReadable = true;
  // Both sides have ended when the kernel says HUP; after our own end it only tells of the peer's, and what came before is read.
  const goneFlags = stream.isEnded ? sockets.EPOLLERR : sockets.EPOLLHUP | sockets.EPOLLERR;
  const isGone = connection.kind === "client" && ((flags & goneFlags) !== 0 || hasGivenUp(connection, flags));
  if (isGone) loseClient(connection);
  else readConnection(worker, connection);
}

/** Who closes while the request waits for a web server has lost patience: others get the turn. */
const hasGivenUp = ({ exchange: { seat } }: ClientConnection, flags: number): boolean =>
  seat !== undefined && (flags & sockets.EPOLLRDHUP) !== 0;

function readConnection(worker: Worker, connection: Connection): void {
  if (connection.kind === "server") readServer(worker, connection);
  else if (connection.awaitsProxy) readProxy(worker, connection);
  else if (connection.isLingering) readLingering(worker, connection);
  else if (connection.isHandshaking) handshake(worker, connection);
  else if (connection.mux !== undefined) readMux(connection);
  else readClient(connection);
}

function loseClient(connection: ClientConnection): void {
  if (connection.mux === undefined) exchange.clientLost(connection);
  else mux.muxEnded(connection);
}

/**
 * The PROXY header comes before all else: it is looked at until it is whole, and then
 * taken out, to the byte.
 */
function readProxy(worker: Worker, connection: ClientConnection): void {
  const { stream, vserver, env } = connection;
  const { address } = received;
  const peek = sockets.MSG_PEEK | sockets.MSG_DONTWAIT;
  const count = sockets.recv(stream.fd, address, MOST_PROXY_HEADER_BYTES, peek);
  if (count < 0 && errno() === sockets.EAGAIN) return;
  const header = count <= 0 ? "bad" : readProxyHeader(received.bytes.subarray(0, count));
  if (header === "incomplete" && !stream.hasPeerEnded) return;
  if (typeof header === "string") {
    worker.counters.proxy_failures++;
    destroyClient(worker, connection, "close");
    return;
  }
  sockets.recv(stream.fd, address, header.length, sockets.MSG_DONTWAIT);
  connection.awaitsProxy = false;
  const { source } = header;
  if (source !== undefined) {
    const isTrustedProxy = isTrusted(vserver.trustedProxies, source.address);
    const clientIp = ipForRules(vserver, source.address);
    const { address, port } = source;
    connection.env = { ...env, clientAddress: address, clientIp, clientPort: port, isTrustedProxy };
  }
  admit(worker, connection);
  if (!stream.isClosed) readConnection(worker, connection);
}

function handshake(worker: Worker, connection: ClientConnection): void {
  const { stream } = connection;
  const step = shakeHands(connection, worker.now_ms);
  if (step === HANDSHAKE.underWay) {
    if (stream.isReadable && stream.records !== undefined) exchange.queueAgain(connection);
    return;
  }
  if (step !== HANDSHAKE.done) return refuseHandshake(worker, connection);
  connection.isHandshaking = false;
  stream.isFresh = false;
  worker.counters.tls_handshakes++;
  if (agreed.isResumed) worker.counters.tls_resumed++;
  connection.exchange.phaseStart_ms = worker.now_ms;
  arm(worker.wheel, connection, worker.now_ms + worker.config.timeouts.request_head_ms);
  if (stream.records?.tickets !== undefined) worker.holdingTickets.push(connection);
  if (agreed.isHttp2) {
    mux.startMux(connection);
    return readMux(connection);
  }
  // The first request may have come with the handshake's end, where no event tells of it.
  readClient(connection);
}

const PLAIN_ON_TLS_TEXT = "This port speaks HTTPS, the request is plain HTTP.\n";
const PLAIN_ON_TLS =
  "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n" +
  `Content-Length: ${PLAIN_ON_TLS_TEXT.length}\r\n\r\n${PLAIN_ON_TLS_TEXT}`;
const plainOnTls = nativeMemory(PLAIN_ON_TLS.length);
plainOnTls.bytes.write(PLAIN_ON_TLS, "latin1");

/** OpenSSL has sent its alert; someone who speaks plain HTTP to the TLS port gets an answer that he can read. */
function refuseHandshake(worker: Worker, connection: ClientConnection): void {
  worker.counters.tls_failures++;
  const isPlainHttp = takeSslError().includes("http request");
  clearSslErrors();
  if (!isPlainHttp) return destroyClient(worker, connection, "close");
  const flags = sockets.MSG_DONTWAIT | sockets.MSG_NOSIGNAL;
  sockets.send(connection.stream.fd, plainOnTls.address, PLAIN_ON_TLS.length, flags);
  startLinger(worker, connection);
}

function readClient(connection: ClientConnection): void {
  const { stream } = connection;
  for (let reads = 0; stream.isReadable && !stream.isClosed && exchange.mayReadClient(connection); reads++) {
    if (reads === READS_PER_TURN) return exchange.queueAgain(connection);
    const { held } = connection.exchange;
    const held_bytes = held?.length ?? 0;
    if (held_bytes === limits.RECEIVE_BUFFER_BYTES) return;
    held?.copy(received.bytes, 0);
    const count = readStream(stream, held_bytes);
    if (count > 0) {
      connection.vserver.counters.bytes_in += count;
      if (connection.mayBeHttp2 && beginsHttp2(connection, held_bytes + count)) return readMux(connection);
      exchange.clientBytesArrived(connection, held_bytes + count);
    } else if (count === WOULD_BLOCK) return;
    else {
      stream.isReadable = false;
      if (count === END || count === CUT) exchange.clientEnded(connection);
      else exchange.clientLost(connection);
    }
  }
}

/**
 * Whether a connection begins as HTTP/2 does; then its bytes are taken. A beginning that may still become one waits for
 * more: no request begins with PRI.
 */
function beginsHttp2(connection: ClientConnection, end: number): boolean {
  const length = Math.min(end, PREFACE.length);
  const isSame = PREFACE.compare(received.bytes, 0, length, 0, length) === 0;
  if (isSame && length < PREFACE.length) {
    hold(connection.exchange, Buffer.from(received.bytes.subarray(0, end)));
    return true;
  }
  connection.mayBeHttp2 = false;
  if (!isSame) return false;
  mux.startMux(connection);
  mux.muxBytesArrived(connection, end);
  return true;
}

/** Reads frames; before the whole preface is there, as bytes that may begin anything. */
function readMux(connection: ClientConnection): void {
  if (connection.mux === undefined) return readClient(connection);
  const { stream } = connection;
  for (let reads = 0; stream.isReadable && !stream.isClosed && mux.mayReadMux(connection); reads++) {
    if (reads === READS_PER_TURN) return exchange.queueAgain(connection);
    const { held } = connection.exchange;
    const held_bytes = held?.length ?? 0;
    held?.copy(received.bytes, 0);
    const count = readStream(stream, held_bytes);
    if (count > 0) {
      connection.vserver.counters.bytes_in += count;
      mux.muxBytesArrived(connection, held_bytes + count);
    } else if (count === WOULD_BLOCK) return;
    else {
      stream.isReadable = false;
      mux.muxEnded(connection);
    }
  }
}

function readServer(worker: Worker, connection: ServerConnection): void {
  const { stream } = connection;
  if (connection.upstreams !== undefined) return readUpstream(connection, connection.upstreams);
  if (connection.owner === undefined) return readIdle(worker, connection);
  for (let reads = 0; stream.isReadable && !stream.isClosed && exchange.mayReadServer(connection); reads++) {
    // Compressing takes a few milliseconds a read: others have a turn in between.
    const isSlow = reads > 0 && connection.owner?.coder !== undefined;
    if (reads === READS_PER_TURN || isSlow) return exchange.queueAgain(connection);
    const moved = exchange.moveBody(connection);
    if (moved > 0) continue;
    const count = moved === NOT_MOVED ? readStream(stream, 0, exchange.serverRoom(connection)) : moved;
    if (count > 0) exchange.serverBytesArrived(connection, count);
    else if (count === WOULD_BLOCK) return;
    else {
      stream.isReadable = false;
      if (count === END || count === CUT) exchange.serverEnded(connection, count === CUT);
      else exchange.serverLost(connection);
    }
  }
}

/** Who says something unasked, or closes, can't be used again; over TLS a session ticket may have come. */
function readIdle(worker: Worker, connection: ServerConnection): void {
  const { ssl, hasPeerEnded } = connection.stream;
  if (ssl === 0 || hasPeerEnded || !isTlsAlive(connection)) closeServer(worker, connection);
}

/** Frames of a web server: flow control bounds what it sends, so it is always read. */
function readUpstream(connection: ServerConnection, upstreams: UpstreamMux): void {
  const { stream } = connection;
  for (let reads = 0; stream.isReadable && !stream.isClosed; reads++) {
    if (reads === READS_PER_TURN) return exchange.queueAgain(connection);
    const { held } = upstreams;
    const held_bytes = held?.length ?? 0;
    held?.copy(received.bytes, 0);
    const count = readStream(stream, held_bytes);
    if (count > 0) upstream.upstreamArrived(connection, held_bytes + count);
    else if (count === WOULD_BLOCK) return;
    else {
      stream.isReadable = false;
      upstream.upstreamEnded(connection);
    }
  }
}

function acceptClients(worker: Worker, listenerFd: number, most = limits.ACCEPTS_PER_TURN): void {
  const listener = worker.listeners.get(listenerFd);
  if (listener === undefined) return;
  for (let i = 0; i < most; i++) {
    if (isCrowded(worker)) return pauseAccepting(worker);
    const fd = sockets.accept(listenerFd);
    if (fd < 0) {
      const code = errno();
      if (code === sockets.EMFILE || code === sockets.ENFILE) {
        worker.log.error(
          { reason: new SysError("accept", code).message },
          "no more connections are accepted for now",
        );
        pauseAccepting(worker);
      }
      return;
    }
    openClient(worker, listener, fd);
  }
}

function openClient(worker: Worker, listener: Listener, fd: number): void {
  const { vserver } = listener;
  const generation = ++worker.generation | 0;
  const isTls = vserver.sslContext !== 0;
  const records = isTls ? createRecords(acceptInMemory(vserver.sslContext)) : undefined;
  const incomplete: Omit<ClientConnection, "exchange"> & { exchange: Exchange | undefined } = {
    kind: "client",
    stream: createStream(fd, generation, 0, false, records),
    vserver,
    env: environment(listener),
    exchange: undefined,
    mux: undefined,
    mayBeHttp2: vserver.http2 && !isTls,
    countedFor: "",
    isSurplus: isSurplus(worker),
    awaitsProxy: isTrusted(vserver.proxyProtocolFrom, sockets.acceptedPeer.address),
    awaitsHello: isTls,
    isHandshaking: isTls,
    isClosing: false,
    isLingering: false,
    lingers: false,
    lingered_bytes: 0,
    isQueuedAgain: false,
    deadline_ms: Infinity,
    slotTick: -1,
    wheelNext: undefined,
    wheelPrevious: undefined,
  };
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- connection and exchange know each other: one comes first
  const connection = incomplete as ClientConnection;
  incomplete.exchange = exchange.createExchange(connection, sessionPort, worker.now_ms);
  worker.connections[fd] = connection;
  worker.clients.add(connection);
  countAccepted(vserver);
  worker.counters.accepted++;
  const { timeouts } = worker.config;
  const first_ms = isTls ? timeouts.tls_handshake_ms : timeouts.request_head_ms;
  arm(worker.wheel, connection, worker.now_ms + first_ms);
  sockets.watchStream(worker.epoll, fd, generation);
  if (vserver.clientConnections !== undefined && !connection.awaitsProxy) admit(worker, connection);
}

/** Counts a connection for its client, where that is limited, and turns it away if there are too many. */
function admit(worker: Worker, connection: ClientConnection): void {
  const { vserver, env } = connection;
  const counts = vserver.clientConnections;
  if (counts === undefined) return;
  connection.countedFor = clientKey(env.clientAddress);
  const verdict = addConnection(counts, connection.countedFor);
  if (verdict === "refused") destroyClient(worker, connection, "close");
  else if (verdict === "answered") connection.env = { ...env, rules: TOO_MANY_CONNECTIONS };
}

function countAccepted(vserver: VserverRuntime): void {
  const { counters } = vserver;
  counters.accepted++;
  if (++vserver.openConnections > counters.most_open_connections) {
    counters.most_open_connections = vserver.openConnections;
  }
}

function environment(listener: Listener): SessionEnv {
  const { vserver } = listener;
  const { address, port } = sockets.acceptedPeer;
  return {
    ...vserver.env,
    clientAddress: address,
    clientIp: ipForRules(vserver, address),
    clientPort: port,
    isTrustedProxy: isTrusted(vserver.trustedProxies, address),
    localAddress: listener.address,
    localPort: listener.port,
  };
}

const ipForRules = ({ env }: VserverRuntime, address: string): IpAddress | undefined =>
  env.rules === null ? undefined : parseIp(address);

function isTrusted(blocks: readonly Cidr[], address: string): boolean {
  if (blocks.length === 0) return false;
  const ip = parseIp(address);
  return ip !== undefined && blocks.some((block) => cidrContains(block, ip));
}

/** Connections wait in the listen queue until some have ended. */
function pauseAccepting(worker: Worker): void {
  if (!worker.isAccepting) return;
  worker.isAccepting = false;
  for (const fd of worker.listeners.keys()) sockets.unwatch(worker.epoll, fd);
  const resume = (): void => {
    if (worker.isDraining) return;
    if (isCrowded(worker)) {
      setTimeout(resume, ACCEPT_PAUSE_MS);
      return;
    }
    worker.isAccepting = true;
    for (const fd of worker.listeners.keys()) sockets.watchReadable(worker.epoll, fd);
  };
  setTimeout(resume, ACCEPT_PAUSE_MS);
}

function fire(worker: Worker, waiting: Waiting): void {
  if (waiting.kind === "exchange") exchange.exchangeTimedOut(waiting);
  else if (waiting.kind === "client") {
    const isMux = waiting.mux !== undefined && !waiting.isClosing;
    if (isMux) mux.muxTimedOut(waiting);
    else exchange.clientTimedOut(waiting);
  } else if (waiting.upstreams !== undefined) upstream.upstreamTimedOut(waiting);
  else if (waiting.stream.isConnecting) exchange.connectTimedOut(waiting);
  else closeServer(worker, waiting);
}

/**
 * Stops taking connections and ends those there are: what waits in the listen queues is taken first, requests
 * under way are answered, idle connections closed.
 */
export function drainWorker(worker: Worker): void {
  stopListening(worker, new Set(worker.listeners.keys()));
  for (const client of worker.clients) {
    if (client.mux === undefined) exchange.drainClient(client);
    else mux.drainMux(client);
  }
  mux.flushMuxes();
}

/**
 * Another worker has the listening sockets, too, and takes what waits there, except for the `ended` ones. Connections that there
 * are get one more answer; idle ones stay until then, or until their time is over.
 */
export function retireWorker(worker: Worker, ended: ReadonlySet<number>): void {
  stopListening(worker, ended);
  for (const client of worker.clients) {
    if (client.mux === undefined) exchange.retireClient(client);
    else mux.drainMux(client);
  }
  mux.flushMuxes();
}

function stopListening(worker: Worker, ended: ReadonlySet<number>): void {
  for (const fd of worker.listeners.keys()) {
    if (ended.has(fd)) acceptClients(worker, fd, limits.LISTEN_BACKLOG);
    // The socket lives on where others have it, and would go on waking this worker.
    sockets.unwatch(worker.epoll, fd);
    sockets.close(fd);
  }
  worker.isDraining = true;
  worker.listeners.clear();
  for (const pool of worker.pools) {
    for (const server of pool.servers)
      while (server.idle.length > 0) closeServer(worker, server.idle.at(-1)!);
  }
  upstream.drainUpstreams();
}

/** Ends what is left without waiting; resolves when the log is written. */
export async function closeWorker(worker: Worker): Promise<void> {
  for (const client of worker.clients) {
    if (client.mux === undefined) exchange.stopClient(client);
    else mux.stopMux(client);
  }
  upstream.stopUpstreams();
  sockets.close(worker.epoll);
  await worker.accessLog?.close();
}
