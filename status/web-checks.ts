/** Has the web servers of proxied pools checked, once for the whole node, and notes in the order book what comes of it. */
import { readFileSync } from "node:fs";
import { readGivenFile } from "../conf/given-files.ts";
import type { Config, PoolConfig } from "../conf/schema.ts";
import type { CheckTls } from "../net/health/asking.ts";
import { startChecker, type Checker } from "../net/health/checker.ts";
import { systemCaFile } from "../net/openssl-client.ts";
import type { Logger } from "./log.ts";
import { noteHealth, type OrderBook } from "./order-book.ts";

export interface Checking {
  stop(): void;
}

/**
 * Checks until stopped; `onChange` after each change. What other checks have found before is forgotten: these may have another
 * idea of what is well. Throws DlbaError TLS_CA, or what reading a file throws.
 */
export function startWebChecks(
  { pools }: Config,
  book: OrderBook,
  log: Logger,
  onChange: () => void,
): Checking {
  book.complaints.clear();
  onChange();
  const checked = pools.filter(({ scheduling, check }) => scheduling !== "direct" && check !== undefined);
  const checkers = checked.map((pool) =>
    startPool(pool, (id, isUp, reason) => {
      noteHealth(book, pool.name, id, isUp ? "" : reason);
      const facts = { pool: pool.name, web_server: id, reason };
      if (isUp) log.info(facts, "web server is well");
      else log.warn(facts, "web server is not well");
      onChange();
    }),
  );
  return { stop: () => checkers.forEach((checker) => checker.stop()) };
}

type OnChange = (id: string, isUp: boolean, reason: string) => void;

function startPool(pool: PoolConfig, onChange: OnChange): Checker {
  const files = pool.tls === undefined ? undefined : tlsFiles(pool.tls);
  return startChecker({
    check: pool.check!,
    hosts: pool.servers.map(({ address, port, server_name }, number) => {
      const servername = server_name ?? pool.tls?.server_name;
      const tls =
        files === undefined ? {} : { tls: servername === undefined ? files : { ...files, servername } };
      return { number, address, port, isHttp2: pool.protocol === "h2", ...tls };
    }),
    onChange: ({ host, isUp, reason }) => onChange(pool.servers[host]!.id, isUp, reason),
  });
}

/** The same authorities and the same certificate as the workers use. */
function tlsFiles({ verify, ca, certificate, key }: NonNullable<PoolConfig["tls"]>): CheckTls {
  const own =
    certificate === undefined || key === undefined ? {} : { cert: readNow(certificate), key: readNow(key) };
  if (!verify) return { ...own, rejectUnauthorized: false };
  return { ...own, ca: readNow(ca ?? systemCaFile()) };
}

/** A new configuration may name the same file with other contents; one that is gone by now is as it was given. */
function readNow(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch {
    return readGivenFile(path);
  }
}
