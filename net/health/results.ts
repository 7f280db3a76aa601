/** What comes of a check, in words for an operator. */
import { describeError } from "../../conf/errors.ts";
import type { CheckResult } from "./checks.ts";

export const GOOD: CheckResult = { kind: "good" };
export const bad = (reason: string): CheckResult => ({ kind: "bad", reason });

export const OTHER_PROTOCOL = bad("it speaks another protocol (ALPN)");

const WORDS: Readonly<Record<string, string>> = {
  ECONNREFUSED: "connection refused",
  ECONNRESET: "connection closed without an answer",
  EPIPE: "connection closed without an answer",
  EHOSTUNREACH: "no way to the host",
  ENETUNREACH: "no way to the host's network",
  EHOSTDOWN: "the host does not answer ARP",
  ETIMEDOUT: "no answer",
};
/** This node's own trouble, which no host should suffer for. */
const OWN_FAULTS = new Set(["EMFILE", "ENFILE", "ENOMEM", "ENOBUFS", "EADDRNOTAVAIL", "EPERM", "EACCES"]);

/** What an error means, in words for an operator. */
export function failure(error: unknown): CheckResult {
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  if (OWN_FAULTS.has(code))
    return { kind: "unsure", reason: `could not be checked: ${describeError(error)}` };
  if (code.includes("NO_APPLICATION_PROTOCOL")) return OTHER_PROTOCOL;
  if (code.startsWith("ERR_HTTP2_")) return bad("the answer is not HTTP/2");
  if (code.startsWith("HPE_")) return bad("the answer is not HTTP");
  if (code.startsWith("ERR_SSL_")) return bad("the TLS handshake failed");
  return bad(WORDS[code] ?? describeError(error));
}
