/**
 * The client's side of TLS: contexts that say whom to believe, and connections that say who is expected at the other end.
 * The peer's certificate is verified during the handshake, its name with it (RFC 6125), unless a context says otherwise.
 */
import { existsSync } from "node:fs";
import { DlbaError } from "../conf/errors.ts";
import { bind, nativeMemory, ownBinary, readCString } from "./ffi.ts";
import {
  clearSslErrors,
  newContext,
  newSsl,
  sslFree,
  takeSslError,
  type Ssl,
  type SslContext,
} from "./openssl.ts";
import { addAuthorities, addCertificate, type CertifiedKey } from "./openssl-pem.ts";

const o = ownBinary();
const clientMethod = bind<[], number>(o, "uintptr_t TLS_client_method()");
const setVerify = bind<[number, number, number], void>(
  o,
  "void SSL_CTX_set_verify(uintptr_t ctx, int mode, uintptr_t callback)",
);
const setAlpnProtocols = bind<[number, number, number], number>(
  o,
  "int SSL_CTX_set_alpn_protos(uintptr_t ctx, uintptr_t protocols, unsigned int length)",
);
const setConnectState = bind<[number], void>(o, "void SSL_set_connect_state(uintptr_t ssl)");
const sslCtrlText = bind<[number, number, number, string], number>(
  o,
  "long SSL_ctrl(uintptr_t ssl, int cmd, long number, const char *text)",
);
const getParameters = bind<[number], number>(o, "uintptr_t SSL_get0_param(uintptr_t ssl)");
const setHost = bind<[number, string, number], number>(
  o,
  "int X509_VERIFY_PARAM_set1_host(uintptr_t parameters, const char *name, size_t length)",
);
const setHostFlags = bind<[number, number], void>(
  o,
  "void X509_VERIFY_PARAM_set_hostflags(uintptr_t parameters, unsigned int flags)",
);
const setIp = bind<[number, string], number>(
  o,
  "int X509_VERIFY_PARAM_set1_ip_asc(uintptr_t parameters, const char *address)",
);
const verifyResult = bind<[number], number>(o, "long SSL_get_verify_result(uintptr_t ssl)");
const verifyText = bind<[number], number>(o, "uintptr_t X509_verify_cert_error_string(long code)");
const getSession = bind<[number], number>(o, "uintptr_t SSL_get1_session(uintptr_t ssl)");
const isResumable = bind<[number], number>(o, "int SSL_SESSION_is_resumable(uintptr_t session)");
const setSession = bind<[number, number], number>(o, "int SSL_set_session(uintptr_t ssl, uintptr_t session)");

/** Address of a session that a later connection may resume; 0 for none. */
export type SslSession = number;
/** Gives a session back that `takeSession` has returned. */
export const freeSession = bind<[SslSession], void>(o, "void SSL_SESSION_free(uintptr_t session)");

const VERIFY_NONE = 0;
const VERIFY_PEER = 1;
const CTRL_SET_TLSEXT_HOSTNAME = 55;
const NO_PARTIAL_WILDCARDS = 4;
const X509_V_OK = 0;

/** Where distributions keep the authorities that the system believes. */
const SYSTEM_CA_FILES = [
  "/etc/ssl/certs/ca-certificates.crt",
  "/etc/pki/tls/certs/ca-bundle.crt",
  "/etc/ssl/ca-bundle.pem",
  "/etc/ssl/cert.pem",
];

/** The file with the system's authorities. Throws DlbaError TLS_CA when there is none. */
export function systemCaFile(): string {
  const found = SYSTEM_CA_FILES.find((file) => existsSync(file));
  if (found !== undefined) return found;
  throw new DlbaError("TLS_CA", "this system has no file of certificate authorities", {
    hint: "install ca-certificates, or name a file with the key 'ca'",
  });
}

export interface ClientContextOptions {
  /** The authorities that are believed (PEM, and where it is from); undefined: whatever certificate the peer has is taken. */
  readonly ca: { readonly name: string; readonly bytes: Buffer } | undefined;
  /** What the client shows of itself when it is asked. */
  readonly own?: CertifiedKey | undefined;
  /** Protocols that are offered (ALPN, RFC 7301), the liked best first. */
  readonly protocols: readonly string[];
}

/**
 * A client's context: TLS 1.2 and 1.3. Throws DlbaError TLS_CONTEXT, TLS_CA, TLS_CERTIFICATE or TLS_KEY. Freed by
 * `freeContext`.
 */
export function createClientContext(options: ClientContextOptions): SslContext {
  const { ca, own } = options;
  return newContext(clientMethod(), (context) => {
    setVerify(context, ca === undefined ? VERIFY_NONE : VERIFY_PEER, 0);
    if (ca !== undefined) addAuthorities(context, ca.name, ca.bytes);
    if (own !== undefined) addCertificate(context, own);
    offerProtocols(context, options.protocols);
  });
}

function offerProtocols(context: SslContext, protocols: readonly string[]): void {
  const list = Buffer.concat(
    protocols.map((name) => Buffer.from(`${String.fromCharCode(name.length)}${name}`)),
  );
  const memory = nativeMemory(list.length);
  memory.bytes.set(list);
  setAlpnProtocols(context, memory.address, list.length);
}

/** Who has to be at the other end: a name, which is told to it, too (SNI), or an address. */
export interface Expected {
  readonly name: string | undefined;
  readonly address: string;
}

/** The client's side of a TLS connection on a socket that may still be connecting. Freed by `sslFree`. */
export function connectSsl(
  context: SslContext,
  fd: number,
  { name, address }: Expected,
  session: SslSession,
): Ssl {
  const ssl = newSsl(context, fd);
  setConnectState(ssl);
  const parameters = getParameters(ssl);
  setHostFlags(parameters, NO_PARTIAL_WILDCARDS);
  const isSet =
    name === undefined
      ? setIp(parameters, address)
      : Math.min(
          setHost(parameters, name, Buffer.byteLength(name)),
          sslCtrlText(ssl, CTRL_SET_TLSEXT_HOSTNAME, 0, name),
        );
  // Without it any name would do.
  if (isSet !== 1) {
    sslFree(ssl);
    throw new DlbaError("TLS_NAME", `no certificate can be for ${name ?? address}`);
  }
  if (session !== 0) setSession(ssl, session);
  return ssl;
}

/** Why a handshake has failed, in words; empties the error queue. */
export function handshakeFailure(ssl: Ssl): string {
  const verdict = verifyResult(ssl);
  const error = takeSslError();
  clearSslErrors();
  if (verdict !== X509_V_OK) return readCString(verifyText(verdict));
  return /no reason given|unexpected eof/.test(error) ? "closed in the handshake" : reasonOf(error);
}

/** `error:0A000438:SSL routines::tlsv1 alert internal error` without what only OpenSSL's authors read. */
const reasonOf = (error: string): string => error.split(":").at(-1) || error;

/** A connection's session, once its peer has sent a ticket; 0 when there is none to resume. Freed by `freeSession`. */
export function takeSession(ssl: Ssl): SslSession {
  const session = getSession(ssl);
  if (session === 0 || isResumable(session) === 1) return session;
  freeSession(session);
  return 0;
}
