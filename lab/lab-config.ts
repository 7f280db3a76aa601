/** The configuration of a lab that has none of an operator's own. Pure. */
import type { ConfigPlaces } from "./adapt-config.ts";

const DEFAULT_VIPS = ["198.18.0.100", "fd00:198:18::100"] as const;
/** Names that the default lab's certificates are for: the first is the one without SNI. */
export const DEFAULT_SERVER_NAMES = ["www.lab.test", "shop.lab.test"] as const;

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
