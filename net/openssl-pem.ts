/** Certificates and keys in PEM, from memory into a TLS context: what was checked is what is used, whatever the file holds by now. */
import { DlbaError } from "../conf/errors.ts";
import { addressOf, bind, ownBinary } from "./ffi.ts";
import { clearSslErrors, takeSslError, type SslContext } from "./openssl.ts";

const o = ownBinary();
const memoryBio = bind<[number, number], number>(o, "uintptr_t BIO_new_mem_buf(uintptr_t bytes, int length)");
const bioFree = bind<[number], number>(o, "int BIO_free(uintptr_t bio)");
const readX509 = bind<[number, number, number, string], number>(
  o,
  "uintptr_t PEM_read_bio_X509(uintptr_t bio, uintptr_t to, uintptr_t callback, const char *passphrase)",
);
const readKey = bind<[number, number, number, string], number>(
  o,
  "uintptr_t PEM_read_bio_PrivateKey(uintptr_t bio, uintptr_t to, uintptr_t callback, const char *passphrase)",
);
const x509Free = bind<[number], void>(o, "void X509_free(uintptr_t certificate)");
const keyFree = bind<[number], void>(o, "void EVP_PKEY_free(uintptr_t key)");
const useCertificate = bind<[SslContext, number], number>(
  o,
  "int SSL_CTX_use_certificate(uintptr_t ctx, uintptr_t certificate)",
);
const useKey = bind<[SslContext, number], number>(
  o,
  "int SSL_CTX_use_PrivateKey(uintptr_t ctx, uintptr_t key)",
);
const checkKey = bind<[SslContext], number>(o, "int SSL_CTX_check_private_key(uintptr_t ctx)");
const contextCtrl = bind<[SslContext, number, number, number], number>(
  o,
  "long SSL_CTX_ctrl(uintptr_t ctx, int cmd, long number, uintptr_t pointer)",
);
const certificateStore = bind<[SslContext], number>(o, "uintptr_t SSL_CTX_get_cert_store(uintptr_t ctx)");
const addToStore = bind<[number, number], number>(
  o,
  "int X509_STORE_add_cert(uintptr_t store, uintptr_t certificate)",
);
const CTRL_CHAIN_CERT = 89;
/** Intermediate certificates of one chain. */
const MAX_CHAIN = 16;

/** A certificate with its chain, and its key. */
export interface CertifiedKey {
  /** For messages: the certificate's file. */
  readonly name: string;
  readonly certificate: Buffer;
  readonly key: Buffer;
}

/**
 * Adds a certificate to a context. A context has one for each kind of key (RSA, ECDSA, Ed25519), each with a chain of its own;
 * OpenSSL picks by what the client can. Throws DlbaError TLS_CERTIFICATE or TLS_KEY.
 */
export function addCertificate(context: SslContext, { name, certificate, key }: CertifiedKey): void {
  clearSslErrors();
  withBio(certificate, (bio) => {
    const own = readX509(bio, 0, 0, "");
    const isUsed = own !== 0 && useCertificate(context, own) === 1;
    if (own !== 0) x509Free(own);
    if (!isUsed) throw refused("TLS_CERTIFICATE", `the certificate ${name} can't be used`);
    addChain(context, bio, name);
  });
  withBio(key, (bio) => {
    const own = readKey(bio, 0, 0, "");
    const isUsed = own !== 0 && useKey(context, own) === 1 && checkKey(context) === 1;
    if (own !== 0) keyFree(own);
    if (!isUsed) throw refused("TLS_KEY", `the private key of ${name} can't be used with it`);
  });
}

/** The certificates behind the first one; the last attempt finds no more, which is no error. */
function addChain(context: SslContext, bio: number, name: string): void {
  for (let i = 0; ; i++) {
    const next = readX509(bio, 0, 0, "");
    if (next === 0) break;
    // The context owns it from here on, unless it refuses it.
    const isAdded = i < MAX_CHAIN && contextCtrl(context, CTRL_CHAIN_CERT, 0, next) === 1;
    if (isAdded) continue;
    x509Free(next);
    throw refused("TLS_CERTIFICATE", `the chain in ${name} can't be used`);
  }
  clearSslErrors();
}

/** Has a context believe what these authorities have signed. Throws DlbaError TLS_CA when there is none among the bytes. */
export function addAuthorities(context: SslContext, name: string, bytes: Buffer): void {
  clearSslErrors();
  const store = certificateStore(context);
  let count = 0;
  withBio(bytes, (bio) => {
    for (let next = readX509(bio, 0, 0, ""); next !== 0; next = readX509(bio, 0, 0, "")) {
      if (addToStore(store, next) === 1) count++;
      x509Free(next);
    }
  });
  if (count === 0) throw refused("TLS_CA", `there are no certificate authorities in ${name}`);
  clearSslErrors();
}

function withBio(bytes: Buffer, use: (bio: number) => void): void {
  const bio = memoryBio(addressOf(bytes), bytes.length);
  try {
    use(bio);
  } finally {
    bioFree(bio);
  }
}

const refused = (code: string, what: string): DlbaError => new DlbaError(code, `${what}: ${takeSslError()}`);
