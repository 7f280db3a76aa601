/** A service manager's socket: hears datagrams, as Node can't. */
import assert from "node:assert/strict";
import type { TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { bind, checked, libc, nativeMemory } from "../../net/ffi.ts";
import { close, MSG_DONTWAIT, recv } from "../../net/sockets.ts";

const AF_UNIX = 1;
const SOCK_DGRAM_CLOEXEC = 0x80002;
const DATAGRAM_BYTES = 4096;
const WITHIN_MS = 20_000;

export interface DatagramListener {
  /** Everything so far, one string a datagram. */
  readonly heard: () => string[];
  /** Waits until a datagram is this, or matches; resolves with it. */
  readonly hears: (what: string | RegExp) => Promise<string>;
}

/** Listens at a path, or with @ at an abstract name, until the test is over. */
export function datagramListener(t: TestContext, path: string): DatagramListener {
  const name = Buffer.from(path.startsWith("@") ? `\0${path.slice(1)}` : `${path}\0`);
  const address = nativeMemory(2 + name.length);
  address.view.setUint16(0, AF_UNIX, true);
  address.bytes.set(name, 2);
  const socket = bind<[number, number, number], number>(
    libc(),
    "int socket(int domain, int type, int protocol)",
  );
  const bindTo = bind<[number, number, number], number>(
    libc(),
    "int bind(int fd, uintptr_t address, uint32_t length)",
  );
  const fd = checked("socket", socket(AF_UNIX, SOCK_DGRAM_CLOEXEC, 0));
  t.after(() => close(fd));
  checked("bind", bindTo(fd, address.address, address.bytes.length));
  const datagram = nativeMemory(DATAGRAM_BYTES);
  const said: string[] = [];
  const heard = (): string[] => {
    for (;;) {
      const length = recv(fd, datagram.address, DATAGRAM_BYTES, MSG_DONTWAIT);
      if (length < 0) return said;
      said.push(datagram.bytes.toString("utf8", 0, length));
    }
  };
  return {
    heard,
    hears: async (what) => {
      const deadline_ms = performance.now() + WITHIN_MS;
      for (;;) {
        const found = heard().find((each) => (typeof what === "string" ? each === what : what.test(each)));
        if (found !== undefined) return found;
        assert.ok(performance.now() < deadline_ms, `waited for ${what}; heard ${JSON.stringify(said)}`);
        await sleep(10);
      }
    },
  };
}
