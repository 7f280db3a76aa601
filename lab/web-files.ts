/** The files that a lab's web servers serve: of many sizes, always the same bytes. */
import { createCipheriv, createHash } from "node:crypto";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

export interface WebFile {
  /** Path on the web server. */
  readonly path: string;
  readonly size_bytes: number;
  readonly sha256: string;
}

const SIZES = { "0b": 0, "100b": 100, "10k": 10_240, "1m": 1_048_576, "50m": 52_428_800 } as const;

/** Bytes that don't repeat, the same in every lab: an AES key stream. */
function fileBytes(size_bytes: number): Buffer {
  const cipher = createCipheriv("aes-128-ctr", Buffer.alloc(16, 1), Buffer.alloc(16));
  return cipher.update(Buffer.alloc(size_bytes));
}

/** Writes the files `/0b`, `/100b`, `/10k`, `/1m`, `/50m` and their SHA256SUMS. */
export function writeWebFiles(webRoot: string): WebFile[] {
  mkdirSync(webRoot, { recursive: true });
  const files = Object.entries(SIZES).map(([name, size_bytes]) => {
    const bytes = fileBytes(size_bytes);
    writeFileSync(join(webRoot, name), bytes);
    return { path: `/${name}`, size_bytes, sha256: createHash("sha256").update(bytes).digest("hex") };
  });
  const sums = files.map(({ path, sha256 }) => `${sha256}  .${path}\n`).join("");
  writeFileSync(join(webRoot, "SHA256SUMS"), sums);
  return files;
}
