/**
 * The schema of the one YAML file. Shapes, ranges, defaults and what each key means stand here; what links
 * one part of the file to another (names that must exist, numbers that must differ) is in `semantics.ts`.
 */
import { z } from "zod";
import * as limits from "./limits.ts";
import { milliseconds, port, weight } from "./schema-numbers.ts";
import { pool } from "./schema-pools.ts";
import { compression, rules } from "./schema-rules.ts";
import { cidr, ip, mac, name, path, patternText, textOf } from "./schema-text.ts";

const interfaceName = patternText(/^[^\s/:]{1,15}$/, "the name of a network interface such as eth0");

const array = z.strictObject({
  name: name.describe("The array's name, in logs and tables."),
  key_file: path.describe(
    "File with the array key: 32 random bytes in base64, or what 'dlba key rotate' has made of them. The hash seed, cookie values, ticket keys and the authentication between nodes derive from it. The same on every node.",
  ),
});

const furtherInterface = z.strictObject({
  interface: interfaceName.describe("Interface on the further segment: the XDP program runs on it, too."),
  address: ip.describe("Physical IP address of the node on that segment."),
  mac: mac.optional().describe("MAC address of that interface; found out when left out."),
});

const node = z.strictObject({
  number: z.int().min(0).max(limits.MAX_NODE_NUMBER).describe("DLBA server number: unique, kept for life."),
  name: name.describe("The node's name, in logs and tables."),
  address: ip.describe("Physical IP address of the node on the array's segment."),
  interface: interfaceName.describe("Interface on the array's segment: the XDP program runs on it."),
  mac: mac.optional().describe("MAC address of that interface; found out when left out."),
  interfaces: z
    .array(furtherInterface)
    .max(limits.MAX_INTERFACES - 1)
    .default([])
    .describe("Further segments that the node is on; every node lists the same segments in the same order."),
  enabled: z
    .boolean()
    .default(true)
    .describe("A node that is not enabled gets no buckets; those that it has move on."),
  weight: weight.default(1).describe("Share of the buckets, relative to the other nodes; 0 for none."),
  priority: z
    .int()
    .min(0)
    .max(limits.MAX_PRIORITY)
    .default(100)
    .describe(
      "Who becomes the scheduler first, of nodes with an equal table: the highest; of equals, the first one here. 0: never.",
    ),
});

const certificate = z.strictObject({
  certificate: path.describe("PEM file: the certificate and its chain."),
  key: path.describe("PEM file: the private key."),
});

const errorPage = z.strictObject({
  status: z
    .literal([400, 403, 404, 405, 408, 410, 413, 414, 417, 421, 429, 431, 451, 501, 502, 503, 504, 505])
    .describe("The status that the proxy answers with by itself."),
  file: path.describe("HTML in UTF-8, 64 KiB at most."),
});

const headBytes = z.int().min(1024).max(limits.RECEIVE_BUFFER_BYTES);
const targetBytes = z.int().min(256).max(limits.RECEIVE_BUFFER_BYTES);
const bodyBytes = z.int().min(0).max(Number.MAX_SAFE_INTEGER);
/** What a vserver may bound otherwise. */
const ownBounds = z
  .strictObject({
    request_head_bytes: headBytes.optional().describe("A larger request head gets 431."),
    request_target_bytes: targetBytes.optional().describe("A longer request target gets 414."),
    request_body_bytes: bodyBytes.optional().describe("A larger request body gets 413."),
    response_head_bytes: headBytes
      .optional()
      .describe("A web server whose response head is larger gets its client a 502."),
  })
  .optional()
  .describe("Only http and https: bounds of its own, instead of those under limits.");

const vserver = z.strictObject({
  name: name.describe("The virtual server's name, in logs and tables."),
  vips: z.array(ip).min(1).max(limits.MAX_VIPS_PER_VSERVER).describe("Virtual IP addresses, IPv4 and IPv6."),
  ports: z.array(port).min(1).max(limits.MAX_PORTS_PER_VSERVER).describe("Ports on each of the VIPs."),
  protocol: z
    .enum(["http", "https", "tcp", "udp"])
    .describe(
      "http and https are proxied to a pool; tcp and udp go to what listens on the VIP: on each node, or on the hosts of a direct pool.",
    ),
  hash: z
    .enum(["address-and-port", "address"])
    .default("address-and-port")
    .describe(
      "What of a client is hashed to a bucket: each connection by itself, or all that come from one address together.",
    ),
  certificates: z
    .array(certificate)
    .max(limits.MAX_CERTIFICATES_PER_VSERVER)
    .default([])
    .describe("For https: chosen by server name (SNI); the first one is the default."),
  hosts: z
    .array(z.string().min(1).max(253))
    .max(1024)
    .default([])
    .describe(
      "Host names that this vserver serves (*.example.org for a whole level); others get 404. Empty: all.",
    ),
  trusted_proxies: z
    .array(cidr)
    .max(1024)
    .default([])
    .describe(
      "Clients from here may hand on X-Forwarded-For and Forwarded; from all others these are replaced.",
    ),
  proxy_protocol_from: z
    .array(cidr)
    .max(1024)
    .default([])
    .describe(
      "Load balancers in front: connections from here have to begin with a PROXY header (version 1 or 2), which says who the client is; from elsewhere there is none.",
    ),
  error_pages: z
    .array(errorPage)
    .max(32)
    .default([])
    .describe("What clients see when the proxy answers by itself; a few words where there is no page."),
  http2: z
    .boolean()
    .default(true)
    .describe("Whether clients may speak HTTP/2: over TLS by ALPN, else by its preface."),
  access_log: z
    .boolean()
    .default(true)
    .describe("Whether its requests stand in the access log, if there is one."),
  websockets: z
    .boolean()
    .default(true)
    .describe(
      "Whether WebSockets go to the web servers (to a pool with protocol: h2 they are refused with 501); without, requests for one go on as plain requests.",
    ),
  request_id: z
    .boolean()
    .default(false)
    .describe(
      "Whether web servers are told an X-Request-Id, which the JSON log has, too; a trusted proxy's is kept.",
    ),
  rules,
  compression,
  traceparent: z
    .boolean()
    .default(false)
    .describe(
      "Whether requests without a valid traceparent (W3C Trace Context) get a new one, and the JSON log has it. A valid one goes on untouched, with or without this.",
    ),
  max_connections_per_client: z
    .int()
    .min(1)
    .max(1_000_000)
    .optional()
    .describe(
      "How many connections one client (an IPv4 address, a /64 of IPv6) may have to one node. Those beyond are answered 429 and closed; beyond twice as many they are closed at once. Left out: any.",
    ),
  limits: ownBounds,
  pool: name
    .optional()
    .describe(
      "The pool that http and https requests go to; for tcp and udp the direct pool whose hosts hold the VIP, or none: then the nodes serve it.",
    ),
});

const scheduler = z.strictObject({
  table_size: z
    .int()
    .min(limits.MIN_TABLE_SIZE)
    .max(limits.MAX_TABLE_SIZE)
    .refine((size) => (size & (size - 1)) === 0, "expected a power of two such as 65536")
    .default(65_536)
    .describe("Number of buckets of the Client IP Hash Table; fixed while the array runs."),
  bucket_timeout_s: z
    .int()
    .min(2)
    .max(604_800)
    .default(600)
    .describe("A bucket without packets for this long may move."),
  fill_s: z
    .int()
    .min(0)
    .max(86_400)
    .default(60)
    .describe(
      "Time in which a node that is new or back gets its share even if no bucket falls idle; 0: only idle buckets move.",
    ),
  balance: z
    .enum(["groups", "hits", "connections", "response-time"])
    .default("groups")
    .describe(
      "What is levelled between the nodes: IP groups by weight alone, or corrected by what the sweep tells of each node.",
    ),
  heartbeat_ms: milliseconds(5, 10_000, 20).describe("From one heartbeat to a node's kernel to the next."),
  dead_after_ms: milliseconds(20, 60_000, 100).describe(
    "A node whose kernel has answered no heartbeat for this long is routed round.",
  ),
  port: port
    .default(8471)
    .describe("TCP port on every node's address where the Client IP Hash Table is kept in step."),
  sweep_delay_ms: milliseconds(50, 600_000, 1000).describe("Pause between two rounds of status requests."),
  sweep_timeout_ms: milliseconds(10, 60_000, 500).describe(
    "A node that does not answer a status request within this time is asked again.",
  ),
  sweep_retries: z
    .int()
    .min(0)
    .max(20)
    .default(2)
    .describe("A node counts as failed after this many further tries."),
  xdp: z
    .enum(["auto", "native", "generic"])
    .default("auto")
    .describe(
      "Where the XDP program runs: in the driver (native), behind it (generic), or the best that works (auto).",
    ),
});

const failover = z.strictObject({
  heartbeat_ms: milliseconds(2, 1000, 10).describe(
    "A node asks the scheduler's kernel this often whether it lives.",
  ),
  dead_after_ms: milliseconds(20, 10_000, 50).describe(
    "A scheduler whose kernel has answered nothing for this long is succeeded. At least four heartbeats.",
  ),
  preempt: z
    .boolean()
    .default(false)
    .describe("Whether a scheduler hands over to a node of higher priority that has come back."),
  preempt_delay_s: z
    .int()
    .min(0)
    .max(86_400)
    .default(60)
    .describe("For how long such a node must have been in step before."),
});

const timeouts = z.strictObject({
  tls_handshake_ms: milliseconds(100, 600_000, 10_000).describe("For the whole TLS handshake."),
  request_head_ms: milliseconds(100, 600_000, 10_000).describe(
    "From a request head's first byte (or the connection's start) to its last.",
  ),
  request_body_ms: milliseconds(100, 3_600_000, 30_000).describe("Between two pieces of a request body."),
  keep_alive_ms: milliseconds(100, 3_600_000, 60_000).describe("How long an idle client connection is kept."),
  connect_ms: milliseconds(10, 600_000, 2000).describe(
    "For connecting to a web server, its TLS handshake included; after it another one is tried.",
  ),
  response_head_ms: milliseconds(10, 3_600_000, 60_000).describe(
    "From the request's end to the response's head.",
  ),
  response_body_ms: milliseconds(100, 3_600_000, 60_000).describe("Between two pieces of a response body."),
  tunnel_ms: milliseconds(1000, 604_800_000, 3_600_000).describe(
    "A WebSocket on which nothing goes either way for this long is closed.",
  ),
  request_ms: milliseconds(0, 86_400_000, 0).describe(
    "For a whole request, from its head's end to the last byte of its response; 0: no bound.",
  ),
  client_write_ms: milliseconds(100, 3_600_000, 60_000).describe(
    "A client that takes no byte of its response for this long is dropped.",
  ),
  linger_ms: milliseconds(10, 60_000, 2000).describe(
    "How long the rest of a refused request is still read, so that the answer arrives.",
  ),
  server_idle_ms: milliseconds(10, 3_600_000, 30_000).describe(
    "How long an idle connection to a web server is kept.",
  ),
  server_retry_ms: milliseconds(100, 3_600_000, 1000).describe(
    "A web server that could not be connected is passed over for this long.",
  ),
  drain_ms: milliseconds(0, 3_600_000, 10_000).describe(
    "How long requests under way may take when a worker stops.",
  ),
  retire_ms: milliseconds(0, 86_400_000, 600_000).describe(
    "How long requests and WebSockets of a worker that a reload has replaced may go on.",
  ),
});

const bounds = z.strictObject({
  workers: z.int().min(0).max(256).default(0).describe("dlba-server processes per node; 0: one per core."),
  connections_per_worker: z
    .int()
    .min(1)
    .max(1_000_000)
    .default(20_000)
    .describe(
      "Client connections of one worker; a few more get 503 (see docs/operating.md), the rest waits in the listen queue.",
    ),
  request_head_bytes: headBytes.default(32_768).describe("A larger request head gets 431."),
  request_target_bytes: targetBytes.default(8192).describe("A longer request target gets 414."),
  request_body_bytes: bodyBytes.default(1_073_741_824).describe("A larger request body gets 413."),
  response_head_bytes: headBytes
    .default(32_768)
    .describe("A web server whose response head is larger gets its client a 502."),
  http2_streams: z
    .int()
    .min(1)
    .max(10_000)
    .default(100)
    .describe("Requests that one HTTP/2 connection may have under way; further ones are refused."),
  buffer_bytes: z
    .int()
    .min(16_384)
    .max(16_777_216)
    .default(131_072)
    .describe("Bytes waiting for one side of a connection before the other is no longer read."),
  memory_bytes: z
    .int()
    .min(1_048_576)
    .max(1_099_511_627_776)
    .default(268_435_456)
    .describe(
      "Bytes that wait in one worker for all its clients and web servers together. At the bound new requests get 503, and nothing is read that can't be handed on.",
    ),
  idle_server_connections: z
    .int()
    .min(0)
    .max(100_000)
    .default(256)
    .describe("Idle connections kept per web server and worker."),
});

const where = ip
  .optional()
  .describe(
    "Where to listen, the same on every node, such as 127.0.0.1 or 0.0.0.0. Left out: each node's own address.",
  );

const metrics = z.strictObject({
  address: where,
  port: port.default(9470).describe("TCP port of the metrics."),
});

const tokenFile = path.describe(
  "File with the token that clients have to say: 16 to 256 printable characters without spaces. The same on every node.",
);

const monitor = z.strictObject({
  address: where,
  port: port.default(9472).describe("TCP port of the monitoring socket."),
  certificate: path.describe("PEM file: the node's certificate and its chain."),
  key: path.describe("PEM file: its private key."),
  token_file: tokenFile.optional(),
  client_ca: path
    .optional()
    .describe("PEM file: authorities. Clients with a certificate of theirs need no token."),
});

const dashboard = z.strictObject({
  address: where,
  port: port.default(9471).describe("TCP port of the dashboard."),
  token_file: tokenFile,
  certificate: path
    .optional()
    .describe(
      "PEM file: the node's certificate and its chain. Left out: plain HTTP, for a management network or 127.0.0.1.",
    ),
  key: path.optional().describe("PEM file: its private key."),
});

const isHttpUrl = (text: string): boolean => /^https?:\/\/[^\s/@]+\/\S*$/.test(text) && URL.canParse(text);
const traces = z.strictObject({
  endpoint: textOf(isHttpUrl, "a URL such as http://127.0.0.1:4318/v1/traces").describe(
    "Where spans are sent: OTLP over HTTP, in JSON.",
  ),
  one_in: z
    .int()
    .min(1)
    .max(1_000_000)
    .default(100)
    .describe(
      "One trace of so many is sent, chosen by its id; and only if its traceparent is marked as sampled.",
    ),
});

const status = z.strictObject({
  port: port.default(8470).describe("TCP port on every node's address that answers the scheduler's sweep."),
  metrics: metrics
    .optional()
    .describe(
      "Metrics for Prometheus over HTTP, at /metrics, for whoever can reach the port. Left out: none.",
    ),
  monitor: monitor
    .optional()
    .describe("The monitoring socket over TCP with TLS, read-only, for who has the token. Left out: none."),
  traces: traces
    .optional()
    .describe(
      "Traces of some requests for OpenTelemetry, of vservers with traceparent. Left out: none are kept.",
    ),
  dashboard: dashboard
    .optional()
    .describe(
      "A web page that shows the whole array, read-only, from any node, for who has the token. Left out: none.",
    ),
});

const accessLog = z.strictObject({
  file: path.describe("Where the lines go; it may be moved away at any time, and a new one is made."),
  format: z
    .enum(["combined", "json"])
    .default("combined")
    .describe(
      "combined: as web servers write it; json: an object a line, with web server, times and request id.",
    ),
});

const push = z.strictObject({
  port: port
    .default(8473)
    .describe(
      "TCP port on every node's address that takes pushed configurations, from who has the array key.",
    ),
});

export const configSchema = z.strictObject({
  array,
  nodes: z.array(node).min(1).max(limits.MAX_NODES),
  vservers: z.array(vserver).min(1).max(limits.MAX_VSERVERS),
  pools: z.array(pool).max(limits.MAX_POOLS).default([]),
  scheduler: scheduler.prefault({}),
  failover: failover.prefault({}),
  timeouts: timeouts.prefault({}),
  limits: bounds.prefault({}),
  status: status.prefault({}),
  push: push.prefault({}),
  access_log: accessLog
    .optional()
    .describe("A line for every request that is over, on the node that served it. Left out: none."),
});

/** A whole configuration, defaults filled in. */
export type Config = z.output<typeof configSchema>;
export type NodeConfig = Config["nodes"][number];
export type VserverConfig = Config["vservers"][number];
export type PoolConfig = Config["pools"][number];
/** As it may stand in the file: what has a default may be left out. */
export type ConfigInput = z.input<typeof configSchema>;
export type VserverInput = ConfigInput["vservers"][number];
export type PoolInput = NonNullable<ConfigInput["pools"]>[number];
