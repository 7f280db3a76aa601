/** The configuration that `dlba init` writes, with comments that say what may be changed. Pure. */
import type { Plan, PlannedNode, PlannedServer } from "./plan.ts";

/** The text of the YAML file. */
export function configurationText(plan: Plan): string {
  return [HEAD, arrayText(plan), nodesText(plan.nodes), vserversText(plan), poolsText(plan.webServers)].join(
    "\n",
  );
}

const HEAD = `# The array's one configuration file, the same on every node. Written by 'dlba init'; from here on it is yours.
# docs/configuration.md tells every key, conf/examples/full.yaml shows them all.
`;

/** Text that YAML could take for something else stands in quotes. */
function quoted(text: string): string {
  const isPlain =
    /^(?:\d{1,3}(?:\.\d{1,3}){3}|\/[A-Za-z0-9/._-]+|[A-Za-z][A-Za-z0-9.-]*)$/.test(text) &&
    !/^(?:true|false|null|yes|no|on|off|y|n)$/i.test(text);
  return isPlain ? text : JSON.stringify(text);
}

const arrayText = ({ name, keyFile }: Plan): string => `array:
  name: ${quoted(name)}
  # The secret that all nodes share. It is never written here, only its file is named.
  key_file: ${quoted(keyFile)}
`;

function nodesText(nodes: readonly PlannedNode[]): string {
  const rows = nodes.map(
    ({ name, address, interface: at }, i) =>
      `  - { number: ${i + 1}, name: ${quoted(name)}, address: ${quoted(address)}, interface: ${quoted(at)} }`,
  );
  return `nodes:
  # A node keeps its number for life. weight: its share of the traffic; priority: who becomes the scheduler first.
${rows.join("\n")}
`;
}

function vserversText({ vips, certificate }: Plan): string {
  const list = vips.map(quoted).join(", ");
  const https = [
    "  - name: https",
    `    vips: [${list}]`,
    "    ports: [443]",
    "    protocol: https",
    "    certificates:",
    `      - { certificate: ${quoted(certificate?.file ?? "/etc/dlba/site.pem")}, key: ${quoted(certificate?.key ?? "/etc/dlba/site.key")} }`,
    "    pool: web",
  ];
  const note =
    certificate === undefined
      ? [
          "  # With a certificate and its key, readable on every node:",
          ...https.map((line) => line.replace(/^ {2}/, "  # ")),
        ]
      : https;
  return `vservers:
  # What clients connect to. No machine may have a VIP as its own address.
  - name: http
    vips: [${list}]
    ports: [80]
    protocol: http
    pool: web
${note.join("\n")}
`;
}

function poolsText(webServers: readonly PlannedServer[]): string {
  const rows = webServers.map(
    ({ address, port }, i) => `      - { id: web${i + 1}, address: ${quoted(address)}, port: ${port} }`,
  );
  return `pools:
  - name: web
    # A client stays with its web server by an injected cookie. For caches: url-hash, by the URL.
    scheduling: cookie
    # Who gets a client that is new: least-connections, round-robin, least-response-time, random-of-two, first.
    balance: least-connections
    # Web servers that fail are passed over in any case; with a check they are found out before a request does.
    # check: { type: http, path: /health }
    servers:
      # Cookies stick to the id, so it goes along when a web server gets another address.
${rows.join("\n")}
`;
}
