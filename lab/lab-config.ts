/**
 * The configuration that a lab runs. Without a file of the operator's own it is made here; with one, only what
 * can't be as in production is changed in a copy, and told.
 */
import { accessSync, constants } from "node:fs";
import { parseDocument } from "yaml";
import type { Config } from "../conf/schema.ts";

const DEFAULT_VIPS = ["198.18.0.100", "fd00:198:18::100"] as const;
/** Names that the default lab's certificates are for: the first is the one without SNI. */
export const DEFAULT_SERVER_NAMES = ["www.lab.test", "shop.lab.test"] as const;

export interface ConfigPlaces {
  readonly keyFile: string;
  /** Certificate and key of the i-th certificate. */
  readonly certificateFiles: (i: number) => { readonly certificate: string; readonly key: string };
}

/** YAML of the default lab: two pools over the same web servers, each by http and by https. */
export function defaultConfig(name: string, nodes: number, webs: number, places: ConfigPlaces): string {
  return `# The array of the lab "${name}".
array:
  name: lab-${name}
  key_file: ${places.keyFile}
nodes:
${numbered(nodes, (i) => `  - { number: ${i}, name: node${i}, address: 198.18.1.${i}, interface: eth0 }`)}
vservers:
${vserver("http", 80, "http", "web", places)}
${vserver("https", 443, "https", "web", places)}
${vserver("http-by-url", 8080, "http", "web-by-url", places)}
${vserver("https-by-url", 8443, "https", "web-by-url", places)}
pools:
  - name: web
    scheduling: cookie
    servers:
${webServers(webs)}
  - name: web-by-url
    scheduling: url-hash
    servers:
${webServers(webs)}
scheduler:
  # Native XDP on a veth pair needs a program on its other end too.
  xdp: generic
limits:
  workers: 1
`;
}

function numbered(count: number, line: (i: number) => string): string {
  return Array.from({ length: count }, (_, i) => line(i + 1)).join("\n");
}

function webServers(count: number): string {
  return numbered(count, (i) => `      - { id: web${i}, address: 198.18.2.${i}, port: 80 }`);
}

function vserver(name: string, port: number, protocol: string, pool: string, places: ConfigPlaces): string {
  const lines = [
    `  - name: ${name}`,
    `    vips: [${DEFAULT_VIPS.map((vip) => `"${vip}"`).join(", ")}]`,
    `    ports: [${port}]`,
    `    protocol: ${protocol}`,
    `    pool: ${pool}`,
  ];
  if (protocol === "https") lines.push("    certificates:", ...certificateLines(places));
  return lines.join("\n");
}

function certificateLines({ certificateFiles }: ConfigPlaces): string[] {
  return DEFAULT_SERVER_NAMES.map((_, i) => {
    const { certificate, key } = certificateFiles(i);
    return `      - { certificate: ${certificate}, key: ${key} }`;
  });
}

/** A certificate to be made for the lab: for these host names and addresses. */
export interface WantedCertificate {
  readonly index: number;
  readonly names: readonly string[];
}
export interface AdaptedConfig {
  readonly yaml: string;
  readonly wanted: readonly WantedCertificate[];
  /** Whether the array key had to be replaced by a made one. */
  readonly needsKey: boolean;
  /** What differs from the operator's file, in sentences. */
  readonly changes: readonly string[];
}

/** Adapts the operator's file: secrets that can't be read here are replaced, XDP runs in generic mode. */
export function adaptConfig(yaml: string, config: Config, places: ConfigPlaces): AdaptedConfig {
  const document = parseDocument(yaml);
  const changes: string[] = [];
  const wanted: WantedCertificate[] = [];
  const needsKey = !isReadable(config.array.key_file);
  if (needsKey) {
    document.setIn(["array", "key_file"], places.keyFile);
    changes.push(`the array key ${config.array.key_file} can't be read here: the lab made one`);
  }
  config.vservers.forEach((vserver, i) =>
    vserver.certificates.forEach(({ certificate, key }, j) => {
      if (isReadable(certificate) && isReadable(key)) return;
      const index = wanted.length;
      wanted.push({ index, names: vserver.hosts.length > 0 ? vserver.hosts : DEFAULT_SERVER_NAMES });
      document.setIn(["vservers", i, "certificates", j], places.certificateFiles(index));
      changes.push(`the certificate ${certificate} can't be read here: the lab made one`);
    }),
  );
  if (config.scheduler.xdp !== "generic") {
    document.setIn(["scheduler", "xdp"], "generic");
    changes.push("XDP runs in generic mode, as a veth pair needs");
  }
  return { yaml: document.toString(), wanted, needsKey, changes };
}

function isReadable(path: string): boolean {
  try {
    accessSync(path, constants.R_OK);
    return true;
  } catch {
    return false;
  }
}
