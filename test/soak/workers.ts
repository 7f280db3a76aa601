/** Real workers under a real supervisor, on loopback: no root, no scheduler, no lab. They are replaced as a reload does it. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { workerName, workerSpecs } from "../../cli/child-specs.ts";
import { writeSnapshot } from "../../cli/generation.ts";
import { closeListening, openListening } from "../../cli/listening.ts";
import { supervise, type Successor } from "../../cli/supervisor.ts";
import { namedFiles } from "../../conf/given-files.ts";
import { configSchema } from "../../conf/schema.ts";
import { workersOf } from "../../conf/workers.ts";
import { close } from "../../net/sockets.ts";
import { createLogger } from "../../status/log.ts";

export interface WorkersOptions {
  readonly httpPort: number;
  readonly httpsPort: number;
  /** Ports of the web servers, on loopback. */
  readonly serverPorts: readonly number[];
  readonly workers: number;
  readonly limits?: Readonly<Record<string, number>>;
  readonly timeouts?: Readonly<Record<string, number>>;
}

export interface Workers {
  /** The certificate that the https port shows; it signs itself, for "localhost". */
  readonly ca: string;
  /** Replaces all workers; resolves when their successors have taken over. */
  readonly reload: () => Promise<void>;
  readonly stop: () => Promise<void>;
}

/** Starts workers and resolves when they serve. */
export async function startWorkers(options: WorkersOptions): Promise<Workers> {
  const dir = mkdtempSync(join(tmpdir(), "dlba-soak-"));
  const certificate = makeFiles(dir);
  const config = configOf(options, dir, certificate);
  const files = Object.fromEntries(
    namedFiles(config).map((path) => [path, readFileSync(path).toString("base64")]),
  );
  const log = createLogger({ process: "supervisor" }, "error");
  const listening = openListening(config, options.workers, new Map());
  const places = { configFile: "unused", node: "soak", pinDir: dir, runDir: dir, stateDir: dir };
  const specs = (snapshotFd: number): ReturnType<typeof workerSpecs> =>
    workerSpecs({ options: places, snapshotFd, listening, config }).map((spec) =>
      Object.assign(spec, { env: { ...spec.env, DLBA_LOG_LEVEL: "error" } }),
    );
  let snapshotFd = writeSnapshot({ config, files });
  const supervisor = supervise(specs(snapshotFd), log);
  await supervisor.ready;
  return {
    ca: certificate.certificate,
    reload: async () => {
      const fresh = writeSnapshot({ config, files });
      const successors: Successor[] = [];
      for (const spec of specs(fresh)) successors.push(await supervisor.prepare(spec));
      for (const successor of successors) successor.takeOver([], config.timeouts.retire_ms);
      close(snapshotFd);
      snapshotFd = fresh;
    },
    stop: async () => {
      closeListening(listening, new Map());
      for (let worker = 0; worker < workersOf(config); worker++) supervisor.retire(workerName(worker), [], 0);
      await supervisor.stop();
      close(snapshotFd);
      rmSync(dir, { recursive: true });
    },
  };
}

interface Pair {
  readonly certificate: string;
  readonly key: string;
}

function makeFiles(dir: string): Pair {
  const files = { certificate: join(dir, "cert.pem"), key: join(dir, "key.pem") };
  const subject = [
    "-subj",
    "/CN=localhost",
    "-addext",
    "subjectAltName=DNS:localhost,IP:127.0.0.1",
    "-days",
    "2",
  ];
  const curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
  const out = ["-keyout", files.key, "-out", files.certificate];
  execFileSync("openssl", ["req", "-x509", ...curve, ...subject, ...out], { stdio: "ignore" });
  writeFileSync(join(dir, "array.key"), Buffer.alloc(32, 5).toString("base64"));
  return files;
}

function configOf(
  options: WorkersOptions,
  dir: string,
  certificate: Pair,
): ReturnType<typeof configSchema.parse> {
  const shared = { vips: ["127.0.0.1"], pool: "web" };
  const servers = options.serverPorts.map((port, i) => ({ id: `web${i + 1}`, address: "127.0.0.1", port }));
  return configSchema.parse({
    array: { name: "soak", key_file: join(dir, "array.key") },
    nodes: [{ number: 1, name: "soak", address: "127.0.0.1", interface: "lo" }],
    vservers: [
      { name: "plain", ports: [options.httpPort], protocol: "http", ...shared },
      { name: "tls", ports: [options.httpsPort], protocol: "https", certificates: [certificate], ...shared },
    ],
    pools: [{ name: "web", servers }],
    timeouts: options.timeouts ?? {},
    limits: { ...options.limits, workers: options.workers },
  });
}
