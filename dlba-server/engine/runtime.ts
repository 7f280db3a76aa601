/** The records that a worker's parts share: the worker, its pools and vservers, and both kinds of connection. */
import type { IpAddress, Cidr } from "../../conf/address.ts";
import type { Config } from "../../conf/schema.ts";
import type { Logger } from "../../status/log.ts";
import type { PoolState } from "../choose.ts";
import type { ProxyVersion } from "../proxy-header.ts";
import type { Outlier, OutlierSettings } from "../pools/outliers.ts";
import type { RetryBudget } from "../pools/retry-budget.ts";
import type { Seat, WaitingRoom } from "../pools/waiting-room.ts";
import type { Session } from "../session.ts";
import type { Http2Stream } from "../http2/connection.ts";
import type { Phase, SessionEnv, SessionPort } from "../session-port.ts";
import type { ClientConnections } from "../rules/client-connections.ts";
import type { RateTable } from "../rules/rate-table.ts";
import type { ServerStateName } from "../../conf/server-orders.ts";
import type { Expected, SslSession } from "../../net/openssl-client.ts";
import type { SslContext } from "../../net/openssl.ts";
import type { TicketRing } from "../ticket-keys.ts";
import type { AccessLog } from "./access-log.ts";
import type { Spans } from "./spans.ts";
import type { ServerCounters, VserverCounters } from "./counters.ts";
import type { Mux } from "./mux.ts";
import type { Coder } from "./coder.ts";
import type { Refusals } from "./refusals.ts";
import type { Stage, Stream } from "./stream.ts";
import type { Timed, TimerWheel } from "./timer-wheel.ts";
import type { Upstream, UpstreamMux } from "./upstream-streams.ts";

export interface WebServer {
  readonly id: string;
  readonly address: IpAddress;
  readonly port: number;
  readonly counters: ServerCounters;
  /** Kept connections, the one used last on top: the others grow old and are closed. */
  readonly idle: ServerConnection[];
  /** Who has to be there, where the pool has TLS, and the session that the next connection may resume. */
  readonly expected: Expected;
  session: SslSession;
  readonly configured: { readonly weight: number; readonly state: ServerStateName };
  /** How it stands by what the node's operators and checks say. */
  readonly standing: { weight: number; state: ServerStateName; complaint: string | null };
  /** Why it was passed over or left out last. */
  failure: string;
  /** Connections that speak HTTP/2. */
  readonly upstreams: ServerConnection[];
}

export interface PoolRuntime {
  readonly name: string;
  /** Connections to its web servers begin with a PROXY header. */
  readonly sendProxy: ProxyVersion | undefined;
  /** 0 for none. */
  readonly tls: SslContext;
  /** Where requests wait for room; undefined where no web server has a bound. */
  readonly room: WaitingRoom<Exchange> | undefined;
  readonly queueTimeout_ms: number;
  readonly retryBudget: RetryBudget;
  /** Undefined where nobody is left out. */
  readonly outliers: { readonly settings: OutlierSettings; readonly servers: readonly Outlier[] } | undefined;
  /** Its web servers speak HTTP/2. */
  readonly isHttp2: boolean;
  readonly state: PoolState;
  readonly servers: readonly WebServer[];
}

export interface VserverRuntime {
  readonly name: string;
  /** Where its requests may go, in the order of the environment's pools: to the first one unless a rule says otherwise. */
  readonly pools: readonly PoolRuntime[];
  /** Whether the access log tells of its requests. */
  readonly isLogged: boolean;
  /** Whether clients may speak HTTP/2. */
  readonly http2: boolean;
  /** Of new connections; 0 for http. */
  sslContext: SslContext;
  readonly tickets: TicketRing;
  readonly trustedProxies: readonly Cidr[];
  /** Who has to begin with a PROXY header. */
  readonly proxyProtocolFrom: readonly Cidr[];
  /** What the proxy's own answers say, by status: HTML whose char codes are bytes. */
  readonly errorPages: ReadonlyMap<number, string>;
  /** Its client connections on this worker. */
  openConnections: number;
  /** Undefined when a client may have any number of connections. */
  readonly clientConnections: ClientConnections | undefined;
  readonly counters: VserverCounters;
  /** What every session's environment has in common. */
  readonly env: Omit<
    SessionEnv,
    "clientAddress" | "clientIp" | "clientPort" | "isTrustedProxy" | "localAddress" | "localPort"
  >;
}

export interface Listener {
  readonly fd: number;
  readonly vserver: VserverRuntime;
  readonly address: string;
  readonly port: number;
}

export interface WorkerCounters {
  accepted: number;
  requests: number;
  /** Upgrades that were granted, and how many of them go on. */
  tunnels: number;
  open_tunnels: number;
  tls_handshakes: number;
  tls_resumed: number;
  tls_failures: number;
  /** Connections that began with something else than the PROXY header that was due. */
  proxy_failures: number;
  response_time_sum_us: number;
  response_time_count: number;
  /** By status class, 1xx to 5xx at index 1 to 5. */
  readonly responses: number[];
  /** Answers that the proxy made itself, by status. */
  readonly own_answers: Map<number, number>;
}

export interface AccessSoFar {
  began_ms: number;
  sent_bytes: number;
  /** Of the request's body, or into a tunnel. */
  received_bytes: number;
  isTunnel: boolean;
  status: number;
  /** The web server that it was given to last; -1: none. */
  server: number;
  /** To the response's head; -1 before that. */
  response_ms: number;
  /** Its traceparent was made here. */
  isNewTrace: boolean;
}

/**
 * A request at a time, its session and its web server. An HTTP/1.1 connection has one for life, since its requests come one
 * after the other; an HTTP/2 connection one for each stream.
 */
export interface Exchange extends Timed<Waiting> {
  readonly kind: "exchange";
  client: ClientConnection;
  /** The HTTP/2 stream that it is on. */
  stream: Http2Stream<Exchange> | undefined;
  readonly session: Session;
  /** What the session speaks to. */
  readonly port: SessionPort;
  server: ServerConnection | undefined;
  /** Its stream to a web server that speaks HTTP/2, instead. */
  upstream: Upstream | undefined;
  /** With which code such a stream was reset. */
  resetCode: number;
  /** What the session has not consumed yet. */
  held: Buffer | undefined;
  /** A connect the session has asked for: index of the web server, or -1. */
  wantedServer: number;
  wantsReuse: boolean;
  /** Of an HTTP/2 stream: what of it waits for windows, as it was counted last. */
  counted_bytes: number;
  /** Its place among those who wait for a web server, and the pool that it waits in. */
  seat: Seat<Exchange> | undefined;
  waitsIn: PoolRuntime | undefined;
  lastPhase: Phase;
  phaseStart_ms: number;
  lastInput_ms: number;
  /** When the request under way went to the web server, by the turn's time; -1 outside. */
  requestStart_ms: number;
  /** Of the request under way, for the log. */
  readonly access: AccessSoFar;
  /** What compresses its response. */
  coder: Coder | undefined;
}

/** A client's socket: accepted, its TLS and its end. What is said on it is its exchange's. */
export interface ClientConnection extends Timed<Waiting> {
  readonly kind: "client";
  readonly stream: Stream;
  readonly vserver: VserverRuntime;
  env: SessionEnv;
  readonly exchange: Exchange;
  /** It speaks HTTP/2: each stream has an exchange of its own. */
  mux: Mux | undefined;
  /** Its first bytes tell whether it speaks HTTP/2. */
  mayBeHttp2: boolean;
  /** Whom it is counted for, where connections of one client are limited; "" for nobody. */
  countedFor: string;
  /** One more than there may be: its requests are refused until there are fewer. */
  readonly isSurplus: boolean;
  /** A PROXY header has to come first. */
  awaitsProxy: boolean;
  /** Its ClientHello has not come yet. */
  awaitsHello: boolean;
  isHandshaking: boolean;
  /** The session has ended; the connection closes when all is written. */
  isClosing: boolean;
  /** Nothing more is written; what still comes is thrown away until the peer closes. */
  isLingering: boolean;
  /** Whether the client may still be sending when all is written. */
  lingers: boolean;
  lingered_bytes: number;
  isQueuedAgain: boolean;
}

export interface ServerConnection extends Timed<Waiting> {
  readonly kind: "server";
  readonly stream: Stream;
  readonly pool: PoolRuntime;
  readonly index: number;
  owner: Exchange | undefined;
  /** It speaks HTTP/2: many exchanges have a stream on it. */
  upstreams: UpstreamMux | undefined;
  isReused: boolean;
  /** Connected, and the TLS handshake is under way. */
  isHandshaking: boolean;
  /** Its TLS session was noted for the next connections. */
  isSessionTaken: boolean;
  idleSince_ms: number;
  isQueuedAgain: boolean;
}

export type Connection = ClientConnection | ServerConnection;

/** Who may have a deadline. */
export type Waiting = Connection | Exchange;

export interface Worker {
  readonly config: Config;
  readonly log: Logger;
  readonly epoll: number;
  readonly wheel: TimerWheel<Waiting>;
  readonly listeners: Map<number, Listener>;
  /** By descriptor. */
  readonly connections: (Connection | undefined)[];
  readonly clients: Set<ClientConnection>;
  readonly pools: readonly PoolRuntime[];
  /** Those in which requests may have to wait. */
  readonly waitingPools: readonly PoolRuntime[];
  /** Those that have had a listener here. */
  readonly vservers: Set<VserverRuntime>;
  readonly counters: WorkerCounters;
  /** Undefined when nothing is logged. */
  readonly accessLog: AccessLog | undefined;
  readonly nodeName: string;
  readonly refusals: Refusals;
  /** Left out when no traces are kept. */
  spans?: Spans;
  /** Undefined when no rule limits rates. */
  rateTable: RateTable | undefined;
  /** Responses that are being compressed. */
  coders: number;
  /** Names requests: a prefix of this worker's own, and a count. */
  readonly requestIds: { readonly prefix: string; count: number };
  readonly clientStage: Stage;
  readonly serverStage: Stage;
  /** Connections whose session tickets go with the first answer, if there is one soon: the longest first. */
  holdingTickets: ClientConnection[];
  /** Connections with more to read than one turn gives them, or that may be read again. */
  again: Connection[];
  generation: number;
  now_ms: number;
  isAccepting: boolean;
  isDraining: boolean;
}
