/** The schema of pools: their web servers, how those are checked, chosen, spoken to and held on to. */
import { z } from "zod";
import * as limits from "./limits.ts";
import { milliseconds, percent, port, weight } from "./schema-numbers.ts";
import { ip, mac, name, path, patternText, textOf } from "./schema-text.ts";

const isRequestPath = (text: string): boolean => /^\/[!-~]{0,1023}$/.test(text);

const serverName = patternText(
  /^(?=.{1,253}$)[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9])?)*$/,
  "a host name such as web.example.org",
);

const webServer = z.strictObject({
  id: name.describe("The web server's identity: cookies and the URL hash stick to it. Unique in the pool."),
  number: z
    .int()
    .min(0)
    .max(limits.MAX_NODE_NUMBER)
    .optional()
    .describe(
      "Only in a direct pool, and needed there: the host's number, unique in the pool, kept for life.",
    ),
  address: ip.describe("Physical IP address of the web server."),
  mac: mac.optional().describe("Only in a direct pool: the host's MAC address; found out when left out."),
  port: port
    .default(80)
    .describe("Its port. In a direct pool the VIP's port counts, and this one is what is checked."),
  route: name
    .optional()
    .describe(
      "What the web server puts behind the last '.' of its session ids (jvmRoute); see session_id. Left out: its id.",
    ),
  weight: weight
    .default(1)
    .describe("Share of the requests, relative to the others; 0 for none that are new."),
  backup: z
    .boolean()
    .default(false)
    .describe("Gets requests only while no web server that is none can be had; not in a direct pool."),
  state: z
    .enum(["ready", "drain", "maint"])
    .optional()
    .describe(
      "drain: it gets no new sessions, and those it has go on; maint: it gets nothing; left out: ready. 'dlba server' changes it while the array runs; not in a direct pool.",
    ),
  max_connections: z
    .int()
    .min(1)
    .max(1_000_000)
    .optional()
    .describe(
      "Requests under way at it from one node, shared out to the node's workers (one each at least); more wait. Left out: no bound; not in a direct pool.",
    ),
  server_name: serverName
    .optional()
    .describe("For a pool with tls: the name in its certificate, instead of the pool's."),
});

const check = z.strictObject({
  type: z
    .enum(["tcp", "http", "grpc", "icmp"])
    .describe(
      "tcp: the port can be connected; http: a GET gets a good status; grpc (pools with protocol: h2): grpc.health.v1 says SERVING; icmp (direct pools alone): the host answers an echo request. Over TLS where the pool has tls, in HTTP/2 where its protocol is h2.",
    ),
  path: textOf(isRequestPath, "a path such as /health").default("/").describe("For http: what is asked for."),
  host: patternText(/^[!-~]{1,253}$/, "a host name")
    .optional()
    .describe("For http: the Host header; else the server name of tls, or the address."),
  statuses: z
    .array(z.int().min(100).max(599))
    .min(1)
    .max(100)
    .default([200])
    .describe("For http: the good ones."),
  service: patternText(/^[A-Za-z0-9_.]{0,100}$/, "the name of a service such as shop.v1.Cart")
    .default("")
    .describe("For grpc: the service that is asked about; empty: the whole server."),
  interval_ms: milliseconds(50, 600_000, 1000).describe("From one check of a host to the next."),
  timeout_ms: milliseconds(10, 60_000, 500).describe(
    "A host that has not answered by then has failed this check.",
  ),
  rise: z
    .int()
    .min(1)
    .max(100)
    .default(2)
    .describe("Good checks in a row after which a failed host is back."),
  fall: z.int().min(1).max(100).default(3).describe("Failed checks in a row after which a host has failed."),
});

const poolTls = z.strictObject({
  verify: z
    .boolean()
    .default(true)
    .describe(
      "Whether a web server has to prove who it is. false: any certificate will do, so anyone in between can read and change everything.",
    ),
  ca: path
    .optional()
    .describe("PEM file: the authorities that may have signed the certificates. Left out: the system's."),
  server_name: serverName
    .optional()
    .describe(
      "The name that the certificates are for, which is told to the web servers, too (SNI). Left out: their addresses.",
    ),
  certificate: path
    .optional()
    .describe("PEM file: the certificate, with its chain, that is shown to web servers that ask for one."),
  key: path.optional().describe("PEM file: its private key."),
});

const retries = z.strictObject({
  most: z
    .int()
    .min(0)
    .max(limits.MAX_TRIES - 1)
    .default(2)
    .describe("How often one request is given to another web server; 0: never."),
  on: z
    .array(z.enum(["closed", "timeout", "500", "502", "503", "504"]))
    .max(6)
    .default(["closed"])
    .describe(
      "After what: closed without an answer; no response head in time; an answer with this status. Only requests that may be sent twice (idempotent methods, nothing of a body sent, nothing answered).",
    ),
  budget_percent: percent(0, 100, 20).describe(
    "Retries in percent of the pool's requests of the last ten seconds, by worker.",
  ),
  budget_least_per_second: z
    .int()
    .min(0)
    .max(1000)
    .default(10)
    .describe("Retries a second that are allowed whatever there is."),
});

const outliers = z.strictObject({
  consecutive: z
    .int()
    .min(0)
    .max(1000)
    .default(5)
    .describe("Failures in a row (5xx, no answer, a bad one) that eject; 0: none do."),
  percent: percent(0, 100, 0).describe("Failures in percent of a window's requests that eject; 0: none do."),
  least_requests: z
    .int()
    .min(1)
    .max(1_000_000)
    .default(20)
    .describe("A window with fewer requests ejects nobody by percent."),
  window_ms: milliseconds(100, 3_600_000, 10_000).describe("A window's length."),
  eject_ms: milliseconds(100, 3_600_000, 10_000).describe(
    "How long a web server is left out the first time; the next times twice, three times as long and so on. A window without ejection takes one off.",
  ),
  eject_most_ms: milliseconds(100, 86_400_000, 300_000).describe("The longest that it is left out."),
  pool_percent: percent(1, 100, 50).describe("Percent of the pool's web servers that are left out at most."),
});

const queue = z.strictObject({
  most: z
    .int()
    .min(0)
    .max(100_000)
    .default(1024)
    .describe("Requests that wait, by pool and worker; further ones get 503 at once."),
  timeout_ms: milliseconds(10, 600_000, 5000).describe("Who has waited so long gets 503."),
});

const cookieName = patternText(
  /^[A-Za-z0-9_.-]{1,64}$/,
  "a cookie's name of letters, digits, '_', '.' and '-'",
);

const cookieAttributes = z.strictObject({
  secure: z
    .boolean()
    .default(false)
    .describe(
      "Sent over HTTPS alone. Off, so that a client comes to the same web server over HTTP and HTTPS: the value tells nothing.",
    ),
  http_only: z.boolean().default(true).describe("Kept from scripts."),
  same_site: z
    .enum(["strict", "lax", "none"])
    .default("lax")
    .describe("With requests from other sites; none needs secure."),
  path: patternText(/^\/[!-:<-~]{0,255}$/, "a path such as /")
    .default("/")
    .describe("Where the client sends it."),
  domain: patternText(/^(?=.{1,253}$)[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*$/, "a domain such as example.org")
    .optional()
    .describe("For hosts below this domain, too. Left out: for the host that set it alone."),
});

const urlName = patternText(/^[A-Za-z0-9_.~-]{1,64}$/, "a name of letters, digits and '_', '.', '~', '-'");

const sessionId = z.strictObject({
  cookie: cookieName.optional().describe("In this cookie, such as JSESSIONID. Looked at first."),
  path_parameter: urlName
    .optional()
    .describe("In the path behind ';', such as jsessionid for /a;jsessionid=1. Looked at second."),
  query: urlName.optional().describe("In the query, such as sid for /a?sid=1. Looked at last."),
});

export const pool = z.strictObject({
  name: name.describe("The pool's name."),
  scheduling: z
    .enum(["cookie", "url-hash", "direct"])
    .default("cookie")
    .describe(
      "cookie: a client stays with its web server by an injected cookie; url-hash: a URL stays with its web server; direct: for tcp and udp, the hosts hold the VIP and answer the clients themselves.",
    ),
  check: check
    .optional()
    .describe(
      "How its web servers are asked, by each node, whether they are well; one that is not gets nothing. Left out: not at all, what requests find out counts alone.",
    ),
  outliers: outliers
    .optional()
    .describe(
      "Leaves out for a while a web server that can be connected and answers badly, as each worker sees it. Left out: never. Not in a direct pool.",
    ),
  retries: retries
    .optional()
    .describe(
      "When a request is given to another web server after the first one had it. (Who can't be connected is always passed over at once.) Not in a direct pool.",
    ),
  queue: queue
    .optional()
    .describe(
      "Where requests wait while web servers have as many as max_connections says, one client's after the other's. Not in a direct pool.",
    ),
  tls: poolTls
    .optional()
    .describe("TLS to the web servers ({} for the defaults). Left out: none. Not in a direct pool."),
  table_size: z
    .int()
    .min(limits.MIN_TABLE_SIZE)
    .max(limits.DIRECT_BUCKETS)
    .refine((size) => (size & (size - 1)) === 0, "expected a power of two such as 4096")
    .default(4096)
    .describe("Only in a direct pool: buckets of its own hash table; fixed while the array runs."),
  cookie: cookieName.default("DLBA").describe("Name of the injected cookie."),
  cookie_attributes: cookieAttributes.prefault({}),
  session_cookie: cookieName
    .optional()
    .describe(
      "Only with scheduling cookie: the application's own session cookie. The injected cookie is then set when that one is, with its attributes: it lasts exactly as long.",
    ),
  session_id: sessionId
    .optional()
    .describe(
      "Only with scheduling cookie: where an application's session id stands, for clients that don't send the injected cookie. Left out: nowhere.",
    ),
  hash_key: z
    .enum(["path-and-query", "path", "header", "cookie"])
    .default("path-and-query")
    .describe("Only with url-hash: what is hashed. A request without that header or cookie goes by balance."),
  hash_key_name: patternText(/^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}$/, "the name of a header or cookie")
    .optional()
    .describe("Name of the header or cookie that is hashed; only with those, and needed there."),
  balance: z
    .enum(["round-robin", "least-connections", "least-response-time", "random-of-two", "first"])
    .default("round-robin")
    .describe(
      "Which web server gets a request that sticks to none yet; not with url-hash. By weight all but first, which is the first one that is up.",
    ),
  slow_start_ms: milliseconds(0, 3_600_000, 0).describe(
    "A web server that is back gets a tenth of its share at first, and all of it after this time.",
  ),
  load_factor: z
    .number()
    .min(1.05)
    .max(100)
    .optional()
    .describe(
      "Only with url-hash: a web server that has this many times the mean of requests under way, by weight, gets no more; the URL's second choice does. Left out: no bound.",
    ),
  keep_alive: z
    .boolean()
    .default(true)
    .describe("Whether connections to the web servers are kept for further requests."),
  protocol: z
    .enum(["http/1.1", "h2"])
    .default("http/1.1")
    .describe(
      "What the web servers speak. h2 is HTTP/2, as gRPC needs it: over TLS by ALPN where the pool has tls, else at once (prior knowledge); one connection serves many requests.",
    ),
  send_proxy: z
    .enum(["v1", "v2"])
    .optional()
    .describe(
      "Connections to the web servers begin with a PROXY header of this version, and serve one request each. Left out: none.",
    ),
  servers: z.array(webServer).min(1).max(limits.MAX_SERVERS_PER_POOL),
});
