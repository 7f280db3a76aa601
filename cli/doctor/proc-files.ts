/** What the kernel's text files and ethtool say. Pure. */
import type { ListeningSocket } from "./facts.ts";

/** `CONFIG_BPF_JIT=y` in lines. */
export function parseKernelOptions(text: string): Map<string, string> {
  return new Map(
    [...text.matchAll(/^CONFIG_(\w+)=(.*)$/gm)].map(([, name = "", value = ""]): [string, string] => [
      name,
      value,
    ]),
  );
}

/** `ethtool -k`: `large-receive-offload: off [fixed]`. */
export function parseFeatures(text: string): Map<string, boolean> {
  return new Map(
    [...text.matchAll(/^\s*([\w-]+): (on|off)/gm)].map(([, name = "", value]): [string, boolean] => [
      name,
      value === "on",
    ]),
  );
}

const LISTEN = "0A";

/** Listening sockets of /proc/net/tcp or tcp6. */
export function listeningSockets(text: string): ListeningSocket[] {
  return text.split("\n").flatMap((line) => {
    const [, local = "", , state] = line.trim().split(/\s+/);
    const [hex = "", port = ""] = local.split(":");
    if (state !== LISTEN || !/^(?:[0-9A-F]{8}|[0-9A-F]{32})$/.test(hex)) return [];
    return [{ address: addressOf(hex), port: Number.parseInt(port, 16) }];
  });
}

/** The kernel writes addresses as 32-bit words in the order of the machine, which is little-endian here. */
function addressOf(hex: string): string {
  const bytes = [...hex.matchAll(/.{8}/g)].flatMap(([word]) => [...Buffer.from(word, "hex")].toReversed());
  if (bytes.length === 4) return bytes.join(".");
  if (bytes.every((byte) => byte === 0)) return "::";
  const isMapped = bytes.slice(0, 10).every((byte) => byte === 0) && bytes[10] === 0xff && bytes[11] === 0xff;
  if (isMapped) return bytes.slice(12).join(".");
  return Array.from({ length: 8 }, (_, i) => ((bytes[i * 2]! << 8) | bytes[i * 2 + 1]!).toString(16)).join(
    ":",
  );
}
