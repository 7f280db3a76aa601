/** The tarball: the product's tree, which runs wherever it is unpacked, with what goes to the system's places in `share/`. */
import { cpSync, renameSync } from "node:fs";
import { join } from "node:path";
import { command } from "../net/command.ts";
import { type Compression, settle, type Staged } from "./stage.ts";

export interface TarballOptions extends Staged {
  readonly outDir: string;
  readonly scratch: string;
  readonly compression: Compression;
}

/** Resolves with its path. Throws DlbaError COMMAND_FAILED. */
export async function buildTarball(options: TarballOptions): Promise<string> {
  const { architecture, version, time_s, product, share, outDir, scratch, compression } = options;
  const name = `dlba-${version}-linux-${architecture.node}`;
  const tree = join(scratch, "tarball", name);
  cpSync(product, tree, { recursive: true });
  cpSync(share, join(tree, "share"), { recursive: true });
  settle(tree, time_s);
  const file = join(outDir, `${name}.tar.gz`);
  const owner = ["--owner=0", "--group=0", "--numeric-owner"];
  const order = ["--sort=name", "--format=gnu", `--mtime=@${time_s}`];
  // gzip writes a name and a time into its head unless it is told not to.
  const pack = ["-I", compression === "quick" ? "gzip -n1" : "gzip -n", "-cf", `${file}.part`];
  await command("tar", [...order, ...owner, ...pack, "-C", join(scratch, "tarball"), name]);
  renameSync(`${file}.part`, file);
  return file;
}
