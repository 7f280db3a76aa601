/** Who may look from afar: whoever says the token of a file. It is compared in constant time, and never logged. */
import { createHash, timingSafeEqual } from "node:crypto";
import { readFileSync } from "node:fs";
import { describeError, DlbaError } from "../conf/errors.ts";
import { TOKEN_LEAST_CHARACTERS, TOKEN_MOST_CHARACTERS } from "../conf/limits.ts";

/** Says whether a token is the right one. */
export type Admits = (token: string) => boolean;

/** Reads the token of a file. Throws DlbaError TOKEN_UNREADABLE or TOKEN_INVALID. */
export function readAdmission(file: string): Admits {
  let text: string;
  try {
    text = readFileSync(file, "utf8").trim();
  } catch (cause) {
    throw new DlbaError("TOKEN_UNREADABLE", `the token ${file} can't be read`, { cause });
  }
  if (!/^[!-~]+$/.test(text) || text.length < TOKEN_LEAST_CHARACTERS || text.length > TOKEN_MOST_CHARACTERS) {
    const bounds = `${TOKEN_LEAST_CHARACTERS} to ${TOKEN_MOST_CHARACTERS}`;
    const hint = "make one with: head -c 24 /dev/urandom | base64";
    throw new DlbaError("TOKEN_INVALID", `the token ${file} is not ${bounds} characters without spaces`, {
      hint,
    });
  }
  const right = digest(text);
  // Digests have one length, so not even the token's is told by how long a comparison takes.
  return (token) => timingSafeEqual(digest(token), right);
}

/** Tells whether the token of a file has changed; it can't be read out of it. */
export function tokenStamp(file: string): string {
  try {
    return digest(readFileSync(file, "utf8")).toString("base64");
  } catch (error) {
    return describeError(error);
  }
}

const digest = (text: string): Buffer => createHash("sha256").update(text).digest();
