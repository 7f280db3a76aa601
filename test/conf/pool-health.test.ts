/** What must fit together in how a pool's web servers are kept healthy. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";
import { formatConfigErrors } from "../../conf/config-error.ts";
import { parseConfig } from "../../conf/load.ts";

const GOOD = readFileSync(new URL("direct.yaml", import.meta.url), "utf8");

function errorsOf(text: string): string {
  const parsed = parseConfig(text, "a.yaml");
  return "errors" in parsed ? formatConfigErrors(parsed.errors) : "";
}
/** The errors of a further pool, which stands in one line. */
const errorsIn = (keys: string, server = ""): string =>
  errorsOf(
    GOOD.replace(
      "scheduler:",
      `  - { name: web, ${keys}servers: [{ id: w1, address: 10.0.0.41${server} }] }\nscheduler:`,
    ),
  );

describe("a pool that is proxied to", () => {
  test("may have all of it", () => {
    const keys = [
      "check: { type: http, path: /health, statuses: [200, 204] }, ",
      "outliers: {}, ",
      "retries: { most: 3, on: [closed, timeout, '503'] }, ",
      "queue: { most: 10, timeout_ms: 100 }, ",
      "tls: { ca: /a.pem, server_name: web.test, certificate: /c.pem, key: /k.pem }, ",
    ].join("");
    const server = ", state: drain, max_connections: 5, server_name: w1.web.test, weight: 7";
    assert.equal(errorsIn(keys, server), "");
    assert.equal(errorsIn("tls: {}, "), "");
    assert.equal(errorsIn("tls: { verify: false }, "), "");
    assert.equal(errorsIn("check: { type: tcp }, "), "");
    assert.equal(errorsIn("protocol: h2, tls: {}, check: { type: grpc, service: a.B }, "), "");
  });

  const rows: readonly (readonly [name: string, keys: string, server: string, errors: string])[] = [
    [
      "is not pinged",
      "check: { type: icmp }, ",
      "",
      "a.yaml:30:33: web servers that are proxied to can't be checked by icmp; use tcp or http: an echo says nothing of a port",
    ],
    [
      "has a queue only for web servers with a bound",
      "queue: {}, ",
      "",
      "a.yaml:30:18: 'queue' has no effect: no web server of pools[1] has max_connections; give them max_connections, or remove queue",
    ],
    [
      "believes nobody where nothing is verified",
      "tls: { verify: false, ca: /a.pem }, ",
      "",
      "a.yaml:30:40: 'ca' has no effect: nothing is verified; remove it, or set verify: true",
    ],
    [
      "has no certificate without its key",
      "tls: { certificate: /c.pem }, ",
      "",
      "a.yaml:30:25: a certificate needs its key; add 'key' beside it",
    ],
    [
      "has no key without its certificate",
      "tls: { key: /k.pem }, ",
      "",
      "a.yaml:30:25: a key needs its certificate; add 'certificate' beside it",
    ],
    [
      "expects nobody's name without TLS",
      "",
      ", server_name: a.test",
      "a.yaml:30:58: 'server_name' has no effect: pools[1] has no tls; remove it, or add tls to the pool",
    ],
    [
      "has states that there are",
      "",
      ", state: down",
      'a.yaml:30:65: pools[1].servers[0].state is "down"; expected ready, drain or maint',
    ],
    [
      "has names that a certificate can be for",
      "tls: { server_name: 'a b' }, ",
      "",
      'a.yaml:30:38: pools[1].tls.server_name is "a b"; expected a host name such as web.example.org',
    ],
    [
      "is checked by gRPC where it speaks HTTP/2",
      "check: { type: grpc }, ",
      "",
      "a.yaml:30:33: pools[1] can't be checked by grpc: it doesn't speak HTTP/2; set protocol: h2, or use tcp or http",
    ],
    [
      "keeps connections that serve many",
      "protocol: h2, keep_alive: false, ",
      "",
      "a.yaml:30:32: 'keep_alive' has no effect: a connection of HTTP/2 serves many requests; remove it, or set protocol: http/1.1",
    ],
    [
      "tells no client's address on connections that serve many",
      "protocol: h2, send_proxy: v2, ",
      "",
      "a.yaml:30:32: 'send_proxy' can't be: a connection of HTTP/2 serves many clients; remove it, or set protocol: http/1.1",
    ],
  ];
  for (const [name, keys, server, errors] of rows)
    test(name, () => assert.equal(errorsIn(keys, server), errors));
});

describe("a direct pool has nothing of that", () => {
  test("protocol", () => {
    const text = GOOD.replace("    check: { type: icmp }\n", "    check: { type: icmp }\n    protocol: h2\n");
    assert.equal(
      errorsOf(text),
      "a.yaml:27:5: 'protocol' has no effect: the scheduling of pools[0] is direct; remove it: the hosts speak with their clients themselves",
    );
  });

  for (const key of ["outliers", "retries", "queue", "tls"]) {
    test(key, () => {
      const text = GOOD.replace("    check: { type: icmp }\n", `    check: { type: icmp }\n    ${key}: {}\n`);
      const expected = `a.yaml:27:5: a direct pool has no '${key}': its traffic doesn't pass the nodes; remove it, or use another scheduling`;
      assert.equal(errorsOf(text), expected);
    });
  }

  for (const [key, value] of [
    ["state", "drain"],
    ["max_connections", "5"],
    ["server_name", "a.test"],
  ] as const) {
    test(key, () => {
      const text = GOOD.replace(
        "number: 1, address: 10.0.0.31",
        `number: 1, ${key}: ${value}, address: 10.0.0.31`,
      );
      assert.match(errorsOf(text), new RegExp(`^a\\.yaml:28:30: a direct pool has no '${key}'`));
    });
  }
});
