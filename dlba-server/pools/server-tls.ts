/** The TLS context that a pool's web servers are connected with. */
import { readGivenFile } from "../../conf/given-files.ts";
import type { PoolConfig } from "../../conf/schema.ts";
import { createClientContext, systemCaFile } from "../../net/openssl-client.ts";
import type { SslContext } from "../../net/openssl.ts";

/** Throws DlbaError TLS_CA, TLS_CERTIFICATE or TLS_KEY for what it can't be made of, and what `read` throws. */
export function createServerTls(
  { verify, ca, certificate, key }: NonNullable<PoolConfig["tls"]>,
  protocol: PoolConfig["protocol"],
  read: (path: string) => Buffer = readGivenFile,
): SslContext {
  const own =
    certificate === undefined || key === undefined
      ? undefined
      : { name: certificate, certificate: read(certificate), key: read(key) };
  const name = ca ?? (verify ? systemCaFile() : "");
  return createClientContext({
    ca: verify ? { name, bytes: read(name) } : undefined,
    own,
    protocols: [protocol],
  });
}
