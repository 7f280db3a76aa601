/** Which sequence number a connection expects next: a socket tells that in repair mode (needs CAP_NET_ADMIN). */
import type { Socket } from "node:net";
import { bind, checked, libc, nativeMemory } from "../../net/ffi.ts";

const IPPROTO_TCP = 6;
const TCP_REPAIR = 19;
const TCP_REPAIR_QUEUE = 20;
const TCP_QUEUE_SEQ = 21;
const RECEIVE_QUEUE = 1;
const ON = 1;
/** Without a word to the other side. */
const OFF = -1;

const setsockopt = bind<[number, number, number, number, number], number>(
  libc(),
  "int setsockopt(int fd, int level, int name, uintptr_t value, uint32_t length)",
);
const getsockopt = bind<[number, number, number, number, number], number>(
  libc(),
  "int getsockopt(int fd, int level, int name, uintptr_t value, uintptr_t length)",
);
const memory = nativeMemory(8);

function set(fd: number, name: number, value: number): void {
  memory.bytes.writeInt32LE(value, 0);
  checked("setsockopt", setsockopt(fd, IPPROTO_TCP, name, memory.address, 4), String(name));
}

/** Of the side that holds this socket. */
export function nextSequence(socket: Socket): number {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- Node tells a descriptor nowhere else
  const { fd } = (socket as unknown as { readonly _handle: { readonly fd: number } })._handle;
  set(fd, TCP_REPAIR, ON);
  set(fd, TCP_REPAIR_QUEUE, RECEIVE_QUEUE);
  memory.bytes.writeInt32LE(4, 4);
  const result = getsockopt(fd, IPPROTO_TCP, TCP_QUEUE_SEQ, memory.address, memory.address + 4);
  checked("getsockopt", result, "TCP_QUEUE_SEQ");
  const next = memory.bytes.readUInt32LE(0);
  set(fd, TCP_REPAIR, OFF);
  return next;
}
