/**
 * `dlba token`: lets one new host in. It waits here, in the foreground, and gives the host that comes with the token the array
 * key, the configuration and, if asked, certificates. When it ends, the token is good no more.
 */
import { type Command, InvalidArgumentError } from "commander";
import { randomBytes } from "node:crypto";
import { DlbaError } from "../conf/errors.ts";
import { JOIN_MINUTES, JOIN_MOST_MINUTES, JOIN_PORT, JOIN_SECRET_BYTES } from "../conf/limits.ts";
import { readMachine } from "./init/machine.ts";
import type { Guest, Invitation } from "./join/invitation.ts";
import { DEFAULT_CONFIG_FILE, DEFAULT_STATE_DIR } from "./places.ts";

interface TokenOptions {
  readonly config: string;
  readonly stateDir: string;
  readonly node?: string;
  readonly address?: string;
  readonly port: number;
  readonly minutes: number;
  readonly withCertificates?: boolean;
  readonly json?: boolean;
}

const wholeNumber =
  (least: number, most: number) =>
  (text: string): number => {
    const number = Number(text);
    if (/^\d+$/.test(text) && number >= least && number <= most) return number;
    throw new InvalidArgumentError(`expected a whole number from ${least} to ${most}`);
  };

/** Adds `token` to the command line. */
export function registerToken(program: Command): void {
  program
    .command("token")
    .description("let one new host in: make a one-time token, and wait for the host that comes with it")
    .option("--config <file>", "the array's configuration", DEFAULT_CONFIG_FILE)
    .option("--state-dir <directory>", "where the node keeps what was pushed", DEFAULT_STATE_DIR)
    .option("--node <name>", "which node it is to be; left out: the one that has its address")
    .option("--address <address>", "of this machine, where to wait; left out: that of its node")
    .option("--port <number>", "where to wait", wholeNumber(1, 65_535), JOIN_PORT)
    .option("--minutes <number>", "how long", wholeNumber(1, JOIN_MOST_MINUTES), JOIN_MINUTES)
    .option("--with-certificates", "send certificates, their private keys and pages along")
    .option("--json", "a line with the token, then a line with who has joined")
    .action(waitForHost);
}

/** Throws DlbaError: of the configuration and the key, NO_ADDRESS, INVITATION_…, JOIN_…. */
async function waitForHost(options: TokenOptions): Promise<void> {
  const { packFor } = await import("./join/packing.ts");
  const { invite } = await import("./join/invitation.ts");
  const { tokenPsk, tokenText } = await import("./join/token.ts");
  const { config: configFile, stateDir, port, minutes, withCertificates = false, node } = options;
  const wanted = { configFile, stateDir, node, withCertificates };
  // What can fail fails before there is a token: the files are read again for the host.
  packFor({ join: 1, version: "", hostname: "", addresses: [] }, wanted);
  const address = options.address ?? (await ownAddress(configFile, stateDir));
  const secret = randomBytes(JOIN_SECRET_BYTES);
  const token = tokenText({ address, port, secret });
  const place = { address, port, psk: tokenPsk(secret), life_ms: minutes * 60_000 };
  const invitation = await invite({ ...place, parcelFor: (hello) => packFor(hello, wanted) }).catch(
    (cause: unknown) => {
      const hint = "does another 'dlba token' wait there? name another --port, or --address";
      throw new DlbaError("NO_ADDRESS", `${address} port ${port} can't be waited at`, { hint, cause });
    },
  );
  tellToken(token, options);
  try {
    await tellGuest(await untilStopped(invitation), options);
  } finally {
    await invitation.close();
  }
}

/** The address of the node that this machine is. */
async function ownAddress(configFile: string, stateDir: string): Promise<string> {
  const { nodeWith } = await import("./join/parcel.ts");
  const { inForce } = await import("./in-force.ts");
  const own = readMachine().interfaces.flatMap(({ addresses }) => addresses.map(({ address }) => address));
  const address = nodeWith(inForce(configFile, stateDir).config, own)?.address;
  if (address !== undefined) return address;
  const hint = "say with --address where on this machine the new host can come";
  throw new DlbaError("NO_ADDRESS", "this machine has the address of none of the nodes", { hint });
}

async function untilStopped({ guest }: Invitation): Promise<Guest> {
  const { promise, reject } = Promise.withResolvers<never>();
  const stop = (): void => reject(new DlbaError("INVITATION_ENDED", "the token is withdrawn"));
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, stop);
  return Promise.race([guest, promise]);
}

/** The token goes to standard output alone, so that a script can take it from there. */
function tellToken(token: string, { minutes, json = false, withCertificates = false }: TokenOptions): void {
  if (json) {
    const ends_at = new Date(Date.now() + minutes * 60_000).toISOString();
    process.stdout.write(`${JSON.stringify({ token, ends_at })}\n`);
    return;
  }
  const what = withCertificates
    ? "the array key, the configuration and private keys"
    : "the array key and the configuration";
  process.stdout.write(`${token}\n`);
  process.stderr.write(
    `Whoever has this token gets ${what}, once, within ${minutes} minutes. On the new host:\n` +
      "  dlba join TOKEN\nWaiting for it; Ctrl-C withdraws the token.\n",
  );
}

/** Throws DlbaError JOIN_FAILED when the host could not write what it got. */
async function tellGuest(guest: Guest, { json = false }: TokenOptions): Promise<void> {
  const { hello, parcel, from, outcome } = guest;
  if (!outcome.done) {
    const hint = "mend it there, and make a new token";
    throw new DlbaError(
      "JOIN_FAILED",
      `${hello.hostname} (${from}) got all and kept nothing: ${outcome.reason}`,
      {
        hint,
      },
    );
  }
  if (json) {
    const { hostname } = hello;
    process.stdout.write(`${JSON.stringify({ joined: { hostname, from, node: parcel.node } })}\n`);
    return;
  }
  const as = parcel.node === null ? "which is no node of the configuration yet" : `as ${parcel.node}`;
  process.stdout.write(`${hello.hostname} (${from}) has joined, ${as}\n`);
}
