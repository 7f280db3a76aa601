/**
 * OpenSSL out of the running Node binary. A second libssl beside it would clash with it symbol by symbol, and
 * the pinned binary is the one that was tested.
 *
 * `SSL` and `SSL_CTX` are plain addresses. Calls on hot paths return OpenSSL's own numbers.
 */
import koffi from "koffi";
import { DlbaError } from "../conf/errors.ts";
import { bind, nativeMemory, ownBinary, readCString } from "./ffi.ts";

export type Ssl = number;
export type SslContext = number;

const o = ownBinary();
const serverMethod = bind<[], number>(o, "uintptr_t TLS_server_method()");
const contextNew = bind<[number], number>(o, "uintptr_t SSL_CTX_new(uintptr_t method)");
const contextFree = bind<[number], void>(o, "void SSL_CTX_free(uintptr_t ctx)");
const contextCtrl = bind<[number, number, number, number], number>(
  o,
  "long SSL_CTX_ctrl(uintptr_t ctx, int cmd, long number, uintptr_t pointer)",
);
const contextCallbackCtrl = bind<[number, number, unknown], number>(
  o,
  "long SSL_CTX_callback_ctrl(uintptr_t ctx, int cmd, void *callback)",
);
const setOptions = bind<[number, number], number>(
  o,
  "uint64_t SSL_CTX_set_options(uintptr_t ctx, uint64_t options)",
);
const setCiphersuites = bind<[number, string], number>(
  o,
  "int SSL_CTX_set_ciphersuites(uintptr_t ctx, const char *list)",
);
const setSessionIdContext = bind<[number, number, number], number>(
  o,
  "int SSL_CTX_set_session_id_context(uintptr_t ctx, uintptr_t id, unsigned int length)",
);
const setAlpnCallback = bind<[number, unknown, number], void>(
  o,
  "void SSL_CTX_set_alpn_select_cb(uintptr_t ctx, void *callback, uintptr_t arg)",
);
const getAlpn = bind<[number, number, number], void>(
  o,
  "void SSL_get0_alpn_selected(uintptr_t ssl, uintptr_t data, uintptr_t length)",
);
const errorGet = bind<[], number>(o, "unsigned long ERR_get_error()");
const errorText = bind<[number, number, number], void>(
  o,
  "void ERR_error_string_n(unsigned long code, uintptr_t text, size_t length)",
);
const sslNew = bind<[number], number>(o, "uintptr_t SSL_new(uintptr_t ctx)");
const setFd = bind<[number, number], number>(o, "int SSL_set_fd(uintptr_t ssl, int fd)");
const getServername = bind<[number, number], number>(
  o,
  "uintptr_t SSL_get_servername(uintptr_t ssl, int type)",
);
const setContext = bind<[number, number], number>(
  o,
  "uintptr_t SSL_set_SSL_CTX(uintptr_t ssl, uintptr_t ctx)",
);

/** 1 done; else ask `sslError`. */
export const sslHandshake = bind<[Ssl], number>(o, "int SSL_do_handshake(uintptr_t ssl)");
export const sslRead = bind<[Ssl, number, number], number>(
  o,
  "int SSL_read(uintptr_t ssl, uintptr_t to, int length)",
);
export const sslWrite = bind<[Ssl, number, number], number>(
  o,
  "int SSL_write(uintptr_t ssl, uintptr_t from, int length)",
);
export const sslError = bind<[Ssl, number], number>(o, "int SSL_get_error(uintptr_t ssl, int result)");
export const sslShutdown = bind<[Ssl], number>(o, "int SSL_shutdown(uintptr_t ssl)");
export const sslFree = bind<[Ssl], void>(o, "void SSL_free(uintptr_t ssl)");
export const sslSessionReused = bind<[Ssl], number>(o, "int SSL_session_reused(uintptr_t ssl)");
/** 1 when OpenSSL holds bytes of the peer that were not returned yet, whole records or parts of one. */
export const sslHasPending = bind<[Ssl], number>(o, "int SSL_has_pending(uintptr_t ssl)");
/** Empties this thread's error queue: a call's failure must not be read as the next one's. */
export const clearSslErrors = bind<[], void>(o, "void ERR_clear_error()");

export const SSL_ERROR_WANT_READ = 2;
export const SSL_ERROR_WANT_WRITE = 3;
export const SSL_ERROR_ZERO_RETURN = 6;

const CTRL_MODE = 33;
const CTRL_SET_READ_AHEAD = 41;
const CTRL_SET_SESS_CACHE_MODE = 44;
const CTRL_SET_SERVERNAME_CALLBACK = 53;
const CTRL_SET_SERVERNAME_ARG = 54;
const CTRL_SET_TICKET_KEYS = 59;
const CTRL_SET_MIN_PROTO_VERSION = 123;
const TLS1_2_VERSION = 0x0303;
/** PARTIAL_WRITE | ACCEPT_MOVING_WRITE_BUFFER | RELEASE_BUFFERS: the last keeps an idle connection small. */
const MODES = 1 | 2 | 16;
const SESS_CACHE_OFF = 0;
const OP_NO_RENEGOTIATION = 1 << 30;
const OP_CIPHER_SERVER_PREFERENCE = 1 << 22;
const OP_PRIORITIZE_CHACHA = 1 << 21;
/**
 * SHA-256 is computed by the processor, SHA-384 is not: in this order handshakes take 5 to 7 % less (measured). A client
 * without AES instructions says so by naming ChaCha20 first, and gets it.
 */
const CIPHER_SUITES = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";
const TLSEXT_ERR_OK = 0;
const TLSEXT_ERR_NOACK = 3;
/** Name, HMAC key and AES key of session tickets (RFC 5077), as OpenSSL lays them out. */
export const TICKET_KEYS_BYTES = 80;

const errorBuffer = nativeMemory(256);
/** The oldest error of the queue as text, and the queue emptied. */
export function takeSslError(): string {
  const code = errorGet();
  if (code === 0) return "no reason given";
  errorText(code, errorBuffer.address, 256);
  clearSslErrors();
  return readCString(errorBuffer.address);
}

/** A context for one side: TLS 1.2 and 1.3, small idle connections, no cache. What `arrange` throws frees it again. */
export function newContext(method: number, arrange: (context: SslContext) => void): SslContext {
  clearSslErrors();
  const context = contextNew(method);
  if (context === 0) throw new DlbaError("TLS_CONTEXT", `OpenSSL: ${takeSslError()}`);
  try {
    contextCtrl(context, CTRL_SET_MIN_PROTO_VERSION, TLS1_2_VERSION, 0);
    contextCtrl(context, CTRL_MODE, MODES, 0);
    contextCtrl(context, CTRL_SET_READ_AHEAD, 1, 0);
    contextCtrl(context, CTRL_SET_SESS_CACHE_MODE, SESS_CACHE_OFF, 0);
    setOptions(context, OP_NO_RENEGOTIATION);
    arrange(context);
    return context;
  } catch (error) {
    contextFree(context);
    throw error;
  }
}

const sessionId = nativeMemory(4);
sessionId.bytes.write("dlba", "latin1");

/**
 * A server's context: stateless tickets; `arrange` gives it certificates and ticket keys. With `offersHttp2` clients are offered
 * HTTP/2 by ALPN, before HTTP/1.1. Freed by `freeContext`.
 */
export function createServerContext(
  offersHttp2: boolean,
  arrange: (context: SslContext) => void,
): SslContext {
  return newContext(serverMethod(), (context) => {
    setOptions(context, OP_CIPHER_SERVER_PREFERENCE | OP_PRIORITIZE_CHACHA);
    setCiphersuites(context, CIPHER_SUITES);
    setSessionIdContext(context, sessionId.address, 4);
    setAlpnCallback(context, alpnCallback, offersHttp2 ? 1 : 0);
    arrange(context);
  });
}

/** Connections of the context keep it until they end. */
export function freeContext(context: SslContext): void {
  serverNames.delete(context);
  contextFree(context);
}

/** The `TICKET_KEYS_BYTES` bytes at an address are what tickets are made and read with from now on. */
export function setTicketKeys(context: SslContext, address: number): void {
  contextCtrl(context, CTRL_SET_TICKET_KEYS, TICKET_KEYS_BYTES, address);
}

/** A connection's context: until its handshake begins, the one that it was accepted with. */
export const contextOf = bind<[Ssl], SslContext>(o, "uintptr_t SSL_get_SSL_CTX(uintptr_t ssl)");

// Callbacks stay registered for the life of the process: contexts hold them.
const AlpnCallback = koffi.proto(
  "int DlbaAlpn(uintptr_t ssl, uintptr_t out, uintptr_t out_length, uintptr_t in, unsigned int in_length, uintptr_t arg)",
);
const ServernameCallback = koffi.proto("int DlbaServername(uintptr_t ssl, uintptr_t alert, uintptr_t arg)");
const HTTP_1_1 = "http/1.1";
const HTTP_2 = "h2";
const alpnCallback = koffi.register(
  (
    _ssl: number,
    out: number,
    outLength: number,
    list: number,
    listLength: number,
    offersHttp2: number,
  ): number => selectProtocol(out, outLength, list, listLength, offersHttp2 === 1),
  koffi.pointer(AlpnCallback),
);

/**
 * Picks h2, if it is offered, or else http/1.1 out of the client's list (RFC 7301); a client that offers neither goes without
 * ALPN.
 */
function selectProtocol(
  out: number,
  outLength: number,
  list: number,
  listLength: number,
  offersHttp2: boolean,
): number {
  const offered = Buffer.from(koffi.view(list, listLength));
  let best = -1;
  for (let at = 0; at < offered.length; at += 1 + offered[at]!) {
    const name = offered.toString("latin1", at + 1, at + 1 + offered[at]!);
    if (name === HTTP_2 && offersHttp2) best = at;
    else if (name === HTTP_1_1 && best === -1) best = at;
  }
  if (best === -1) return TLSEXT_ERR_NOACK;
  new DataView(koffi.view(out, 8)).setBigUint64(0, BigInt(list + best + 1), true);
  new DataView(koffi.view(outLength, 1)).setUint8(0, offered[best]!);
  return TLSEXT_ERR_OK;
}

const alpnPointer = nativeMemory(8);
const alpnLength = nativeMemory(4);

/** Whether a handshake that is over has ended in HTTP/2. */
export function choseHttp2(ssl: Ssl): boolean {
  getAlpn(ssl, alpnPointer.address, alpnLength.address);
  return alpnLength.view.getUint32(0, true) === HTTP_2.length;
}

/** By the context that a connection began with. */
const serverNames = new Map<SslContext, (name: string) => SslContext>();
const servernameCallback = koffi.register((ssl: number, _alert: number, context: number): number => {
  const name = getServername(ssl, 0);
  // A context that was freed meanwhile goes on with what it has.
  const pick = serverNames.get(context);
  if (name !== 0 && pick !== undefined) setContext(ssl, pick(readCString(name).toLowerCase()));
  return TLSEXT_ERR_OK;
}, koffi.pointer(ServernameCallback));

/** Lets `pick` choose another context by the client's server name (SNI, RFC 6066), in the midst of a handshake. */
export function onServerName(context: SslContext, pick: (name: string) => SslContext): void {
  serverNames.set(context, pick);
  contextCallbackCtrl(context, CTRL_SET_SERVERNAME_CALLBACK, servernameCallback);
  contextCtrl(context, CTRL_SET_SERVERNAME_ARG, 0, context);
}

/** A TLS connection on a socket, neither side yet. Freed by `sslFree`. */
export function newSsl(context: SslContext, fd: number): Ssl {
  const ssl = sslNew(context);
  if (ssl === 0) throw new DlbaError("TLS_MEMORY", `OpenSSL: ${takeSslError()}`);
  setFd(ssl, fd);
  return ssl;
}
