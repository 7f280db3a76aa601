/**
 * Whole Ethernet frames of one kind on one interface (packet(7)). Nothing here waits: `receive` says when there is
 * nothing, as a blocking read would keep the process from ending.
 */
import { bind, checked, errno, libc, nativeMemory, SysError } from "./ffi.ts";

const AF_PACKET = 17;
const SOCK_RAW_NONBLOCK_CLOEXEC = 3 | 0x800 | 0x80000;
const SOL_SOCKET = 1;
const SO_ATTACH_FILTER = 26;
const EAGAIN = 11;
const SOCKADDR_LL_BYTES = 20;
const FRAME_BYTES = 2048;

const c = libc();
const socketCall = bind<[number, number, number], number>(
  c,
  "int socket(int domain, int type, int protocol)",
);
const bindCall = bind<[number, number, number], number>(
  c,
  "int bind(int fd, uintptr_t address, uint32_t length)",
);
const setsockoptCall = bind<[number, number, number, number, number], number>(
  c,
  "int setsockopt(int fd, int level, int name, uintptr_t value, uint32_t length)",
);
const sendCall = bind<[number, Uint8Array, number, number], number>(
  c,
  "int64_t send(int fd, const void *buffer, size_t length, int flags)",
);
const recvCall = bind<[number, number, number, number], number>(
  c,
  "int64_t recv(int fd, uintptr_t buffer, size_t length, int flags)",
);
const closeCall = bind<[number], number>(c, "int close(int fd)");

/** In place of an ethertype: the socket receives nothing, and sends frames of every kind. */
export const SEND_ONLY = 0;

/** An instruction of the classic packet filter: code, jumps when true and false, constant. */
export type FilterStep = readonly [code: number, isTrue: number, isFalse: number, constant: number];

export interface PacketSocket {
  /** Throws SysError (ENETDOWN, ENOBUFS…). */
  send(frame: Uint8Array): void;
  /** The next frame, a copy of its own; undefined when there is none now. */
  receive(): Buffer | undefined;
  close(): void;
}

/** Opens a socket for one ethertype; `filter` sorts out in the kernel. Throws SysError (EPERM without CAP_NET_RAW). */
export function openPacketSocket(
  ifindex: number,
  ethertype: number,
  filter: readonly FilterStep[] = [],
): PacketSocket {
  // Protocol 0: nothing is queued before the socket is bound to its interface.
  const fd = checked("socket", socketCall(AF_PACKET, SOCK_RAW_NONBLOCK_CLOEXEC, 0), "AF_PACKET");
  try {
    if (filter.length > 0) attachFilter(fd, filter);
    const address = nativeMemory(SOCKADDR_LL_BYTES);
    address.view.setUint16(0, AF_PACKET, true);
    address.view.setUint16(2, ethertype, false);
    address.view.setInt32(4, ifindex, true);
    checked("bind", bindCall(fd, address.address, SOCKADDR_LL_BYTES), `to interface ${ifindex}`);
  } catch (error) {
    closeCall(fd);
    throw error;
  }
  return socketOn(fd);
}

function socketOn(fd: number): PacketSocket {
  const buffer = nativeMemory(FRAME_BYTES);
  return {
    send: (frame) => void checked("send", sendCall(fd, frame, frame.length, 0)),
    receive: () => {
      const length = recvCall(fd, buffer.address, FRAME_BYTES, 0);
      if (length >= 0) return Buffer.from(buffer.bytes.subarray(0, length));
      if (errno() === EAGAIN) return undefined;
      throw new SysError("recv", errno(), "on a packet socket");
    },
    close: () => void closeCall(fd),
  };
}

function attachFilter(fd: number, filter: readonly FilterStep[]): void {
  const program = nativeMemory(filter.length * 8);
  filter.forEach(([code, isTrue, isFalse, constant], i) => {
    program.view.setUint16(i * 8, code, true);
    program.view.setUint8(i * 8 + 2, isTrue);
    program.view.setUint8(i * 8 + 3, isFalse);
    program.view.setUint32(i * 8 + 4, constant, true);
  });
  const header = nativeMemory(16);
  header.view.setUint16(0, filter.length, true);
  header.view.setBigUint64(8, BigInt(program.address), true);
  checked(
    "setsockopt",
    setsockoptCall(fd, SOL_SOCKET, SO_ATTACH_FILTER, header.address, 16),
    "SO_ATTACH_FILTER",
  );
}

const LOAD_BYTE = 0x30;
const JUMP_IF_EQUAL = 0x15;
const RETURN = 0x06;
/** Lets neighbour advertisements through, and nothing else of what comes over IPv6. */
export const ONLY_ADVERTISEMENTS: readonly FilterStep[] = [
  [LOAD_BYTE, 0, 0, 20],
  [JUMP_IF_EQUAL, 0, 3, 58],
  [LOAD_BYTE, 0, 0, 54],
  [JUMP_IF_EQUAL, 0, 1, 136],
  [RETURN, 0, 0, FRAME_BYTES],
  [RETURN, 0, 0, 0],
];
