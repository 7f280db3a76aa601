/** `dlba check FILE`: every error of a configuration, or one line on what it holds. */
import type { Command } from "commander";
import { readFileSync } from "node:fs";
import { formatConfigErrors, type ConfigError } from "../conf/config-error.ts";
import { checkCertificateFiles, checkStatusCertificates } from "../conf/certificates.ts";
import { listOf } from "../conf/suggest.ts";
import type { Config } from "../conf/schema.ts";
import { EXIT } from "./exit-codes.ts";

/** Adds `check` to the program. */
export function registerCheck(program: Command): void {
  program
    .command("check")
    .description("check a configuration file; prints every error as file:line:column, and exits 1 if any")
    .argument("<file>", "the array's configuration file")
    .option("--json", "as one JSON object: the file, its errors, or what it holds")
    .action(async (file: string, { json = false }: { readonly json?: boolean }) => {
      process.exitCode = await check(file, json);
    });
}

/**
 * Certificates and keys are looked at, too, as far as they are on this machine and may be read. Throws DlbaError
 * CONFIG_UNREADABLE.
 */
async function check(file: string, json: boolean): Promise<number> {
  const { locateFindings, parseConfig, readConfigFile } = await import("../conf/load.ts");
  const text = readConfigFile(file);
  const parsed = parseConfig(text, file);
  if ("errors" in parsed) return tellErrors(file, parsed.errors, json);
  const findings = [checkCertificateFiles, checkStatusCertificates].flatMap((checkFiles) =>
    checkFiles(parsed.config, readFileSync, Date.now()),
  );
  const wrong = findings.filter(({ kind }) => kind !== "unreadable");
  if (wrong.length > 0) return tellErrors(file, locateFindings(text, file, wrong), json);
  if (findings.length > 0) {
    const missing = `${count(findings.length, "certificate file")} can't be read on this machine, and could not be checked`;
    process.stderr.write(`${file}: ${missing}\n`);
  }
  const holds = summarize(parsed.config);
  process.stdout.write(json ? `${JSON.stringify({ file, errors: [], holds })}\n` : `${file}: ${holds}\n`);
  return EXIT.ok;
}

function tellErrors(file: string, errors: readonly ConfigError[], json: boolean): number {
  if (json) process.stdout.write(`${JSON.stringify({ file, errors })}\n`);
  else process.stderr.write(`${formatConfigErrors(errors)}\n`);
  return EXIT.found;
}

/** `array shop: 3 nodes, 2 vservers on 1 VIP, 1 pool with 3 web servers` */
export function summarize({ array, nodes, vservers, pools }: Config): string {
  const vips = new Set(vservers.flatMap((vserver) => vserver.vips));
  const servers = pools.reduce((sum, pool) => sum + pool.servers.length, 0);
  const parts = [
    count(nodes.length, "node"),
    `${count(vservers.length, "vserver")} on ${count(vips.size, "VIP")}`,
    `${count(pools.length, "pool")} with ${count(servers, "web server")}`,
  ];
  return `no errors; array ${array.name} has ${listOf(parts, "and")}`;
}

function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? "" : "s"}`;
}
