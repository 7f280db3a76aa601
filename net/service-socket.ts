/**
 * What a service tells the manager that started it: a datagram to the socket that $NOTIFY_SOCKET names (sd_notify(3)). The manager
 * believes the process that sends it, so the program `systemd-notify` would have to be believed in our stead; and Node has no
 * Unix datagrams.
 */
import { bind, checked, libc, nativeMemory } from "./ffi.ts";
import { close, MSG_DONTWAIT, MSG_NOSIGNAL } from "./sockets.ts";

const AF_UNIX = 1;
const SOCK_DGRAM_CLOEXEC = 0x80002;
// struct sockaddr_un: the family, then a path.
const PATH_AT = 2;
const MAX_PATH_BYTES = 107;

const socketCall = bind<[number, number, number], number>(
  libc(),
  "int socket(int domain, int type, int protocol)",
);
const sendtoCall = bind<[number, number, number, number, number, number], number>(
  libc(),
  "int sendto(int fd, uintptr_t buffer, size_t length, int flags, uintptr_t address, uint32_t address_bytes)",
);

/** Sends lines such as `READY=1`. A path that begins with @ is an abstract one (unix(7)). Throws SysError; it never waits. */
export function tellServiceManager(path: string, lines: readonly string[]): void {
  const message = Buffer.from(lines.join("\n"));
  const name = Buffer.from(path.startsWith("@") ? `\0${path.slice(1)}` : path);
  if (name.length > MAX_PATH_BYTES) return; // No socket has such a name.
  const memory = nativeMemory(PATH_AT + name.length + 1 + message.length);
  memory.view.setUint16(0, AF_UNIX, true);
  memory.bytes.set(name, PATH_AT);
  const messageAt = PATH_AT + name.length + 1;
  memory.bytes.set(message, messageAt);
  // An abstract name has no end but its length; a path has a zero byte.
  const address_bytes = PATH_AT + name.length + (name[0] === 0 ? 0 : 1);
  const fd = checked("socket", socketCall(AF_UNIX, SOCK_DGRAM_CLOEXEC, 0));
  try {
    const flags = MSG_DONTWAIT | MSG_NOSIGNAL;
    const at = memory.address;
    checked("sendto", sendtoCall(fd, at + messageAt, message.length, flags, at, address_bytes), path);
  } finally {
    close(fd);
  }
}
