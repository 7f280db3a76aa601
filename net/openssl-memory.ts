/**
 * The server's side of TLS handshakes without a socket: the peer's bytes are given, what is to be sent is taken, and the secrets
 * that a finished TLS 1.3 handshake leaves are ours, so its SSL object may go.
 *
 * All connections share two memory BIOs: a step is given whole records, and everything that it has said is taken before the next one.
 */
import koffi from "koffi";
import { DlbaError } from "../conf/errors.ts";
import { bind, libc, nativeMemory, ownBinary } from "./ffi.ts";
import { type Ssl, type SslContext, takeSslError } from "./openssl.ts";

const o = ownBinary();
const sslNew = bind<[number], number>(o, "uintptr_t SSL_new(uintptr_t ctx)");
const setAcceptState = bind<[number], void>(o, "void SSL_set_accept_state(uintptr_t ssl)");
const setBios = bind<[number, number, number], void>(
  o,
  "void SSL_set_bio(uintptr_t ssl, uintptr_t read, uintptr_t write)",
);
const setFd = bind<[number, number], number>(o, "int SSL_set_fd(uintptr_t ssl, int fd)");
const memoryMethod = bind<[], number>(o, "uintptr_t BIO_s_mem()");
const bioNew = bind<[number], number>(o, "uintptr_t BIO_new(uintptr_t method)");
const bioShare = bind<[number], number>(o, "int BIO_up_ref(uintptr_t bio)");
const bioWrite = bind<[number, number, number], number>(
  o,
  "int BIO_write(uintptr_t bio, uintptr_t from, int length)",
);
const bioControl = bind<[number, number, number, number], number>(
  o,
  "long BIO_ctrl(uintptr_t bio, int command, long number, uintptr_t pointer)",
);
const setKeyLog = bind<[number, unknown], void>(
  o,
  "void SSL_CTX_set_keylog_callback(uintptr_t ctx, void *callback)",
);
const version = bind<[number], number>(o, "int SSL_version(uintptr_t ssl)");
const currentCipher = bind<[number], number>(o, "uintptr_t SSL_get_current_cipher(uintptr_t ssl)");
const cipherNumber = bind<[number], number>(o, "uint16_t SSL_CIPHER_get_protocol_id(uintptr_t cipher)");
const session = bind<[number], number>(o, "uintptr_t SSL_get_session(uintptr_t ssl)");
const fragmentMode = bind<[number], number>(
  o,
  "uint8_t SSL_SESSION_get_max_fragment_length(uintptr_t session)",
);
const copyText = bind<[number, number, number], number>(
  libc(),
  "uintptr_t stpncpy(uintptr_t to, uintptr_t from, size_t most)",
);

const bioRead = bind<[number, number, number], number>(
  o,
  "int BIO_read(uintptr_t bio, uintptr_t to, int room)",
);
const BIO_CTRL_RESET = 1;
const TLS1_3_VERSION = 0x0304;

const given = bioNew(memoryMethod());
const said = bioNew(memoryMethod());

/** A connection that a client has begun, for `step`s. Freed by `sslFree`. */
export function acceptInMemory(context: SslContext): Ssl {
  const ssl = sslNew(context);
  if (ssl === 0) throw new DlbaError("TLS_MEMORY", `OpenSSL: ${takeSslError()}`);
  bioShare(given);
  bioShare(said);
  setBios(ssl, given, said);
  setAcceptState(ssl);
  return ssl;
}

/** What the client has sent, for the next step: whole records. */
export function give(address: number, length: number): void {
  bioWrite(given, address, length);
}

const outputMemory = nativeMemory(65_536);
/** What `takeOutput` has taken: `length` bytes. */
export const output = { bytes: outputMemory.bytes, address: outputMemory.address, length: 0 };

/** Takes what the last step has said, or as much of it as there is room for. Returns whether there was any. */
export function takeOutput(): boolean {
  output.length = Math.max(0, bioRead(said, output.address, output.bytes.length));
  return output.length > 0;
}

/** What a step has left unread is not for the next one, which may be another connection's. */
export function forgetGiven(): void {
  bioControl(given, BIO_CTRL_RESET, 0, 0);
}

/** Whether both sides have agreed on TLS 1.3; asked when there is output of a ServerHello. */
export const isTls13 = (ssl: Ssl): boolean => version(ssl) === TLS1_3_VERSION;

/** From now on the connection reads and writes its socket by itself. */
export function attachToSocket(ssl: Ssl, fd: number): void {
  setFd(ssl, fd);
}

/** The number of the cipher suite (RFC 8446 B.4) that was agreed on. */
export const suiteNumber = (ssl: Ssl): number => cipherNumber(currentCipher(ssl));

/** What the last step has told: of TLS 1.3's secrets the two that application data is sealed with. Who takes one removes it. */
export const secrets: { client: Buffer | undefined; server: Buffer | undefined } = {
  client: undefined,
  server: undefined,
};

/** How much a record for the client may hold: less than 16 KB where it has asked for that (RFC 6066 4). */
export function mostRecordBytes(ssl: Ssl): number {
  const mode = fragmentMode(session(ssl));
  return mode >= 1 && mode <= 4 ? 2 ** (8 + mode) : 16_384;
}

/**
 * Secrets come as lines of a key log, "LABEL RANDOM SECRET" in hexadecimal digits: OpenSSL's one way of telling them. TLS 1.2's
 * go unread.
 */
const MOST_LINE_BYTES = 320;
const line = nativeMemory(MOST_LINE_BYTES + 1);
const CLIENT = "CLIENT_TRAFFIC_SECRET_0 ";
const SERVER = "SERVER_TRAFFIC_SECRET_0 ";
/** Behind the label, with the blank after it. */
const RANDOM_CHARACTERS = 65;
/** Tells the wanted labels from the others: CLIENT_T from CLIENT_HANDSHAKE…, CLIENT_RANDOM, CLIENT_EARLY…, EXPORTER… */
const TELLING_AT = CLIENT.indexOf("_") + 1;
const T = 84;

const KeyLogCallback = koffi.proto("void DlbaKeyLog(uintptr_t ssl, uintptr_t line)");
const keyLogCallback = koffi.register((_ssl: number, text: number): void => {
  copyText(line.address, text, MOST_LINE_BYTES);
  if (line.bytes[TELLING_AT] === T) noteSecret();
  line.bytes.fill(0);
}, koffi.pointer(KeyLogCallback));

function noteSecret(): void {
  const label = line.bytes.latin1Slice(0, CLIENT.length);
  const end = line.bytes.indexOf(0);
  const digits = line.bytes.latin1Slice(CLIENT.length + RANDOM_CHARACTERS, end);
  // Of its own: it stays as long as the connection, and would keep a whole piece of Node's pool alive.
  const secret = Buffer.alloc(digits.length / 2);
  secret.write(digits, "hex");
  if (label === CLIENT) secrets.client = secret;
  else if (label === SERVER) secrets.server = secret;
}

/** Makes a context's connections tell their secrets. */
export function tellSecrets(context: SslContext): void {
  setKeyLog(context, keyLogCallback);
}
