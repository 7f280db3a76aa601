/** Certificates of what the status process serves over TLS: read from the disk, and again when they have changed there. */
import { readFileSync } from "node:fs";
import { createSecureContext, type SecureContextOptions, type Server } from "node:tls";
import { describeError, DlbaError } from "../conf/errors.ts";
import { SERVED_FILES_LOOK_MS } from "../conf/limits.ts";
import type { Logger } from "./log.ts";

export interface TlsFiles {
  readonly certificate: string;
  readonly key: string;
  /** Authorities of clients. */
  readonly client_ca?: string | undefined;
}

export type TlsContext = Pick<SecureContextOptions, "cert" | "key" | "ca" | "minVersion">;

/** What the files hold. Throws DlbaError FILE_UNREADABLE, or TLS_UNUSABLE when OpenSSL can't do anything with it. */
export function readTlsFiles({ certificate, key, client_ca }: TlsFiles): TlsContext {
  const context: TlsContext = {
    cert: readNamed(certificate),
    key: readNamed(key),
    ...(client_ca === undefined ? {} : { ca: readNamed(client_ca) }),
    minVersion: "TLSv1.2",
  };
  try {
    createSecureContext(context);
  } catch (cause) {
    throw new DlbaError("TLS_UNUSABLE", `${certificate} and ${key} can't be used`, { cause });
  }
  return context;
}

function readNamed(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (cause) {
    throw new DlbaError("FILE_UNREADABLE", `${file} can't be read`, { cause });
  }
}

/** Has a server take its files anew once they have changed, until it closes; what can't be used is told, and leaves it as it is. */
export function renewTls(
  server: Pick<Server, "setSecureContext" | "once">,
  files: TlsFiles,
  log: Logger,
): void {
  let last = textOf(readTlsFiles(files));
  const timer = setInterval(() => {
    try {
      const context = readTlsFiles(files);
      const text = textOf(context);
      if (text === last) return;
      last = text;
      server.setSecureContext(context);
      log.info({ file: files.certificate }, "a new certificate is shown to who looks at the status");
    } catch (error) {
      log.warn({ reason: describeError(error) }, "a new certificate of the status can't be used");
    }
  }, SERVED_FILES_LOOK_MS).unref();
  server.once("close", () => clearInterval(timer));
}

const textOf = (context: TlsContext): string => JSON.stringify(context);
