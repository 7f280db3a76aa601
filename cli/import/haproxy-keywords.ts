/** Lines of a haproxy.cfg that have no counterpart, or need none: what is said of each. Pure. */
import type { Section } from "./haproxy-lines.ts";
import type { Ledger, Line, NoteKind } from "./notes.ts";

type Said = readonly [kind: NoteKind, say: string];

const OWN_CARE: Said = ["not-needed", "dlba run and its service see to that"];
const LOGS: Said = ["not-needed", "processes log to standard error, requests to access_log"];
const TLS: Said = ["not-needed", "TLS 1.2 and 1.3 are spoken, with the proxy's own choice of ciphers"];
const STATS: Said = [
  "left-out",
  "the monitoring socket speaks the same dialect ('bin/dlba show stat', hatop); for a page see status.dashboard and docs/monitoring.md",
];
const SYSTEM: Said = ["not-needed", "connections are the proxy's own care"];
const HEADERS: Said = ["left-out", "write a rule with request_headers or response_headers"];
const PAGES: Said = [
  "left-out",
  "write the page as HTML (without the head of a response) and name it in error_pages",
];
const STICK: Said = [
  "left-out",
  "the injected cookie keeps clients with their web server; rates of clients are bounded by a rule's rate_limit",
];
const TCP_RULES: Said = ["left-out", "rules look at requests alone: write one with of: client and deny"];
const CONNECTS: Said = ["left-out", "checks connect the port, or ask by HTTP"];
const BOUND: Said = ["left-out", "connections are bounded for each worker: limits.connections_per_worker"];
const ACCESS: Said = ["left-out", "the access log has one form: access_log.format"];
const NOBODY: Said = ["left-out", "it has no counterpart"];

/** By the first word, or the first two, in `global`. */
const GLOBAL: Readonly<Record<string, Said>> = {
  log: LOGS,
  "log-send-hostname": LOGS,
  "log-tag": LOGS,
  maxconn: BOUND,
  nbthread: ["not-needed", "there is one worker for each core: limits.workers"],
  nbproc: ["not-needed", "there is one worker for each core: limits.workers"],
  stats: STATS,
  "ssl-dh-param-file": TLS,
  "ssl-server-verify": ["left-out", "certificates are verified, unless pools[].tls.verify is false"],
  setenv: ["left-out", "values are written as they are"],
  presetenv: ["left-out", "values are written as they are"],
};
const OWN = new Set(
  "chroot user group uid gid daemon pidfile ulimit-n cpu-map master-worker quiet node description set-dumpable spread-checks hard-stop-after maxpipes".split(
    " ",
  ),
);

function saidOfGlobal([keyword = ""]: readonly string[]): Said {
  if (Object.hasOwn(GLOBAL, keyword)) return GLOBAL[keyword]!;
  if (OWN.has(keyword)) return OWN_CARE;
  if (keyword.startsWith("ssl-default-") || keyword.startsWith("tune.ssl.")) return TLS;
  if (keyword.startsWith("tune.")) return ["not-needed", "bounds stand under limits, and have defaults"];
  return NOBODY;
}

const OPTIONS: Readonly<Record<string, Said>> = {
  dontlognull: LOGS,
  "dontlog-normal": ACCESS,
  logasap: ACCESS,
  "log-separate-errors": ACCESS,
  "log-health-checks": ["not-needed", "what checks find stands in the log and in 'bin/dlba events'"],
  redispatch: ["not-needed", "a request whose web server can't be connected goes to another one"],
  "prefer-last-server": ["not-needed", "the injected cookie keeps clients with their web server"],
  abortonclose: ["not-needed", "who closes while waiting is out of the queue"],
  allbackups: ["not-needed", "all backups are used, by weight"],
  "tcp-check": CONNECTS,
  "ssl-hello-chk": CONNECTS,
  smtpchk: CONNECTS,
  "mysql-check": CONNECTS,
  "pgsql-check": CONNECTS,
  "redis-check": CONNECTS,
  "ldap-check": CONNECTS,
  "external-check": CONNECTS,
  httpclose: ["not-needed", "clients' connections are kept, web servers' as keep_alive says"],
  "http-server-close": ["not-needed", "clients' connections are kept, web servers' as keep_alive says"],
  forceclose: ["not-needed", "clients' connections are kept, web servers' as keep_alive says"],
  transparent: [
    "left-out",
    "web servers see the node's address; clients' are in X-Forwarded-For, or use send_proxy",
  ],
  originalto: ["left-out", "web servers are not told the address that clients connected to"],
};

const FIRST: Readonly<Record<string, Said>> = {
  log: LOGS,
  "log-format": ACCESS,
  "log-format-sd": ACCESS,
  "error-log-format": ACCESS,
  "log-tag": LOGS,
  retries: ["not-needed", "who can't be connected is passed over at once; see pools[].retries for the rest"],
  "retry-on": ["left-out", "use pools[].retries"],
  maxconn: BOUND,
  fullconn: ["not-needed", "a bound of a web server does not move"],
  backlog: SYSTEM,
  "http-reuse": ["not-needed", "connections to web servers are used for all clients"],
  stats: STATS,
  stick: STICK,
  "stick-table": STICK,
  "tcp-request": TCP_RULES,
  "tcp-response": TCP_RULES,
  "tcp-check": CONNECTS,
  "unique-id-format": ["left-out", "ids have one form: vservers[].request_id"],
  capture: ACCESS,
  declare: ACCESS,
  errorfile: PAGES,
  errorfiles: PAGES,
  errorloc: PAGES,
  errorloc302: PAGES,
  errorloc303: PAGES,
  "http-error": PAGES,
  "monitor-uri": [
    "left-out",
    "ask the nodes' metrics or the status socket instead; a rule with deny answers a path",
  ],
  monitor: ["left-out", "ask the nodes' metrics or the status socket instead"],
  "server-template": ["left-out", "list the web servers one by one"],
  "use-server": ["left-out", "a rule chooses a pool: make one of those servers"],
  dispatch: ["left-out", "list the web servers one by one"],
  block: ["left-out", "write a rule with deny"],
  description: OWN_CARE,
  id: OWN_CARE,
  "bind-process": OWN_CARE,
  "email-alert": ["left-out", "alerts come from the metrics: docs/monitoring.md"],
  "http-after-response": [
    "left-out",
    "write a rule with response_headers: they are changed in the proxy's own answers, too",
  ],
};

function saidOfProxy([keyword = "", second = ""]: readonly string[]): Said {
  if (keyword === "no") return ["not-needed", "that is not there anyway"];
  if (keyword === "option") return Object.hasOwn(OPTIONS, second) ? OPTIONS[second]! : SYSTEM;
  if (Object.hasOwn(FIRST, keyword)) return FIRST[keyword]!;
  if (/^(req|rsp)[a-z]+$/.test(keyword)) return HEADERS;
  return NOBODY;
}

const WHOLE: Readonly<Record<string, Said>> = {
  peers: ["not-needed", "what nodes have to know of each other they tell each other"],
  userlist: ["left-out", "passwords are the application's to ask for"],
  mailers: ["left-out", "alerts come from the metrics: docs/monitoring.md"],
  resolvers: ["left-out", "names are looked up once, now"],
  cache: ["left-out", "responses are not cached"],
};

/** Says of each line that nothing has been said of what becomes of it. */
export function sayTheRest(sections: readonly Section[], ledger: Ledger): void {
  for (const section of sections) {
    const { kind, line, lines } = section;
    const whole = WHOLE[kind];
    const isProxy = ["frontend", "backend", "listen", "defaults"].includes(kind);
    if (whole !== undefined) ledger.note(line, ...whole);
    else if (!isProxy && kind !== "global") ledger.note(line, ...NOBODY);
    for (const each of ledger.forgotten(lines)) sayOne(each, kind, isProxy, whole, ledger);
  }
}

function sayOne(line: Line, kind: string, isProxy: boolean, whole: Said | undefined, ledger: Ledger): void {
  if (whole !== undefined || (!isProxy && kind !== "global")) return;
  ledger.note(line, ...(kind === "global" ? saidOfGlobal(line.words) : saidOfProxy(line.words)));
}
