/** What a new host says of itself, and what it is given. Strict on both sides, and bounded. Pure. */
import { z } from "zod";
import { DlbaError } from "../../conf/errors.ts";
import { namedFiles } from "../../conf/given-files.ts";
import { ARRAY_KEY_FILE_BYTES, JOIN_FILE_BYTES, JOIN_FILES, MAX_CONFIG_BYTES } from "../../conf/limits.ts";
import { parseJson } from "../../conf/record.ts";
import type { Config, NodeConfig } from "../../conf/schema.ts";

const absolutePath = z
  .string()
  .max(4096)
  .regex(/^\/[^\0]*$/);

const hello = z.strictObject({
  join: z.literal(1),
  version: z.string().max(64),
  hostname: z.string().max(255),
  /** Its own, which others can reach. */
  addresses: z.array(z.string().max(64)).max(256),
});
/** The first line, from the host. */
export type JoinHello = z.infer<typeof hello>;

const parcel = z.strictObject({
  version: z.string().max(64),
  /** Which of the configuration's nodes the host is to be; null when none of them has its address. */
  node: z.string().max(63).nullable(),
  config: z.strictObject({ path: absolutePath, text: z.string().max(MAX_CONFIG_BYTES) }),
  key: z.strictObject({ path: absolutePath, text: z.string().max(ARRAY_KEY_FILE_BYTES) }),
  /** Certificates, keys and pages that the configuration names. */
  files: z
    .array(
      z.strictObject({
        path: absolutePath,
        mode: z.int().min(0).max(0o777),
        content: z.base64().max(Math.ceil(JOIN_FILE_BYTES / 3) * 4),
      }),
    )
    .max(JOIN_FILES),
  /** Those that have to be brought otherwise. */
  missing: z.array(z.string().max(4096)).max(JOIN_FILES),
});
/** The answer, from the node. */
export type Parcel = z.infer<typeof parcel>;

const outcome = z.strictObject({ done: z.boolean(), reason: z.string().max(1000).optional() });
/** The last line, from the host: all has been written, or nothing. */
export type JoinOutcome = z.infer<typeof outcome>;

function read<T>(schema: z.ZodType<T>, line: string, what: string): T {
  const found = schema.safeParse(parseJson(line));
  if (found.success) return found.data;
  const hint = "the two hosts may have different versions of dlba";
  throw new DlbaError("JOIN_UNREADABLE", `${what} can't be read`, { hint });
}

/** Throw DlbaError JOIN_UNREADABLE. */
export const readHello = (line: string): JoinHello => read(hello, line, "what the host says of itself");
export const readParcel = (line: string): Parcel => read(parcel, line, "what the node sent");
export const readOutcome = (line: string): JoinOutcome => read(outcome, line, "the host's last word");

export interface FileBeside {
  readonly path: string;
  readonly isSecret: boolean;
  /** Each node has one of its own there: it is never sent. */
  readonly isOwn: boolean;
}

/** Files beside the array key that a node needs, as the configuration names them, each once. */
export function filesBeside(config: Config): FileBeside[] {
  const { vservers, pools, array } = config;
  const { monitor, dashboard } = config.status;
  const own = [monitor?.certificate, monitor?.key, dashboard?.certificate, dashboard?.key];
  const tokens = [monitor?.token_file, dashboard?.token_file];
  const secret = new Set([
    ...vservers.flatMap(({ certificates }) => certificates.map(({ key }) => key)),
    ...pools.flatMap(({ tls }) => tls?.key ?? []),
    ...tokens,
  ]);
  const shared = [...namedFiles(config), ...tokens, monitor?.client_ca].filter((path) => path !== undefined);
  const paths = new Set([...shared, ...own.filter((path) => path !== undefined)]);
  paths.delete(array.key_file);
  return [...paths].map((path) => ({ path, isSecret: secret.has(path), isOwn: !shared.includes(path) }));
}

/** The node of the configuration that has one of these addresses. */
export const nodeWith = ({ nodes }: Config, addresses: readonly string[]): NodeConfig | undefined =>
  nodes.find(({ address, interfaces }) =>
    [address, ...interfaces.map((each) => each.address)].some((own) => addresses.includes(own)),
  );

/** The line by which a host becomes a node: to be added to the configuration. */
export function nodeLine(config: Config, hostname: string, address: string, interfaceName: string): string {
  const used = new Set(config.nodes.map(({ number }) => number));
  const number = Array.from({ length: 255 }, (_, i) => i + 1).find((each) => !used.has(each)) ?? 254;
  const label = (hostname.split(".")[0] ?? "").replaceAll(/[^A-Za-z0-9-]/g, "-").replaceAll(/^-+|-+$/g, "");
  const isTaken = config.nodes.some(({ name }) => name.toLowerCase() === label.toLowerCase());
  const name = label === "" || isTaken ? `node${number}` : label.slice(0, 63);
  return `- { number: ${number}, name: "${name}", address: "${address}", interface: "${interfaceName}" }`;
}
