/**
 * TCP sockets and epoll by direct calls. Addresses of buffers are plain numbers (see ffi.ts), results are the
 * calls' own: a count, or -1 with `errno()`; who calls on a hot path looks at the number, nobody pays for an
 * exception.
 */
import { endianness } from "node:os";
import type { IpAddress } from "../conf/address.ts";
import { formatIp } from "../conf/address.ts";
import { bind, checked, errno, libc, nativeMemory, SysError } from "./ffi.ts";

export const AF_INET = 2;
export const AF_INET6 = 10;
const SOCK_STREAM = 1;
const SOCK_NONBLOCK = 0x800;
const SOCK_CLOEXEC = 0x80000;
const SOL_SOCKET = 1;
const SO_REUSEADDR = 2;
const SO_ERROR = 4;
const SO_REUSEPORT = 15;
const IPPROTO_TCP = 6;
const TCP_NODELAY = 1;
const TCP_CORK = 3;
const SOL_IP = 0;
const IP_FREEBIND = 15;
const SOL_IPV6 = 41;
const IPV6_V6ONLY = 26;
const IPV6_FREEBIND = 78;
const SO_LINGER = 13;
export const SHUT_WR = 1;
export const MSG_PEEK = 2;
export const MSG_DONTWAIT = 0x40;
export const MSG_NOSIGNAL = 0x4000;

export const EAGAIN = 11;
export const EINTR = 4;
export const EMFILE = 24;
export const ENFILE = 23;
export const EINPROGRESS = 115;

export const EPOLLIN = 1;
export const EPOLLOUT = 4;
export const EPOLLERR = 8;
export const EPOLLHUP = 16;
export const EPOLLRDHUP = 0x2000;
const EPOLLET = 0x80000000;
const EPOLL_CTL_ADD = 1;
const EPOLL_CTL_DEL = 2;

const c = libc();
const socketCall = bind<[number, number, number], number>(
  c,
  "int socket(int domain, int type, int protocol)",
);
const bindCall = bind<[number, number, number], number>(
  c,
  "int bind(int fd, uintptr_t address, uint32_t length)",
);
const listenCall = bind<[number, number], number>(c, "int listen(int fd, int backlog)");
const acceptCall = bind<[number, number, number, number], number>(
  c,
  "int accept4(int fd, uintptr_t address, uintptr_t length, int flags)",
);
const connectCall = bind<[number, number, number], number>(
  c,
  "int connect(int fd, uintptr_t address, uint32_t length)",
);
const setsockoptCall = bind<[number, number, number, number, number], number>(
  c,
  "int setsockopt(int fd, int level, int name, uintptr_t value, uint32_t length)",
);
const getsockoptCall = bind<[number, number, number, number, number], number>(
  c,
  "int getsockopt(int fd, int level, int name, uintptr_t value, uintptr_t length)",
);
const fcntl = bind<[number, number, number], number>(c, "int fcntl(int fd, int command, int argument)");
const F_SETFD = 2;
const FD_CLOEXEC = 1;
const epollCreateCall = bind<[number], number>(c, "int epoll_create1(int flags)");
const epollCtlCall = bind<[number, number, number, number], number>(
  c,
  "int epoll_ctl(int epfd, int op, int fd, uintptr_t event)",
);

/** Bytes received into memory at an address: count, 0 at the end, -1 with errno. */
export const recv = bind<[number, number, number, number], number>(
  c,
  "int recv(int fd, uintptr_t buffer, size_t length, int flags)",
);
/** Bytes sent from memory at an address: count, or -1 with errno. */
export const send = bind<[number, number, number, number], number>(
  c,
  "int send(int fd, uintptr_t buffer, size_t length, int flags)",
);
export const shutdown = bind<[number, number], number>(c, "int shutdown(int fd, int how)");
export const close = bind<[number], number>(c, "int close(int fd)");
/** Waits for events of an epoll set; -1 timeout_ms waits for ever. */
export const epollWait = bind<[number, number, number, number], number>(
  c,
  "int epoll_wait(int epfd, uintptr_t events, int most, int timeout_ms)",
);

/** struct epoll_event is packed on x86-64 only; `data` is our fd and a generation, 32 bits each. */
const isPacked = process.arch === "x64";
export const EPOLL_EVENT_WORDS = isPacked ? 3 : 4;
export const EPOLL_EVENT_FD_WORD = isPacked ? 1 : 2;
export const EPOLL_EVENT_GENERATION_WORD = isPacked ? 2 : 3;

if (endianness() !== "LE") throw new Error("only little-endian machines are supported");

const SOCKADDR_BYTES = 28;
const sockaddr = nativeMemory(SOCKADDR_BYTES);
const word = nativeMemory(8);
const length = nativeMemory(4);
const event = nativeMemory(EPOLL_EVENT_WORDS * 4);

function fillSockaddr(address: IpAddress, port: number): number {
  sockaddr.bytes.fill(0);
  sockaddr.view.setUint16(0, address.family === 4 ? AF_INET : AF_INET6, true);
  sockaddr.view.setUint16(2, port, false);
  sockaddr.bytes.set(
    address.family === 4 ? address.bytes.subarray(0, 4) : address.bytes,
    address.family === 4 ? 4 : 8,
  );
  return address.family === 4 ? 16 : SOCKADDR_BYTES;
}

function setOption(fd: number, level: number, name: number, value: number): void {
  word.view.setInt32(0, value, true);
  checked("setsockopt", setsockoptCall(fd, level, name, word.address, 4));
}

function openStream(address: IpAddress): number {
  const domain = address.family === 4 ? AF_INET : AF_INET6;
  return socketCall(domain, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

/**
 * A listening socket that shares its port with those of other workers (SO_REUSEPORT). The address need not be
 * there yet (IP_FREEBIND). Accepted sockets inherit TCP_NODELAY from it, which saves a call per connection.
 */
export function listenTcp(address: IpAddress, port: number, backlog: number): number {
  const where = `${address.text} port ${port}`;
  const fd = checked("socket", openStream(address), where);
  try {
    setOption(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    setOption(fd, SOL_SOCKET, SO_REUSEPORT, 1);
    setOption(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    if (address.family === 6) setOption(fd, SOL_IPV6, IPV6_V6ONLY, 1);
    if (address.family === 6) setOption(fd, SOL_IPV6, IPV6_FREEBIND, 1);
    else setOption(fd, SOL_IP, IP_FREEBIND, 1);
    checked("bind", bindCall(fd, sockaddr.address, fillSockaddr(address, port)), where);
    checked("listen", listenCall(fd, backlog), where);
    return fd;
  } catch (error) {
    close(fd);
    throw error;
  }
}

/** Where the last `accept` came from. */
export const acceptedPeer = { address: "", port: 0 };
/** Accepts a connection: its non-blocking descriptor, or -1 with errno; the peer is in `acceptedPeer`. */
export function accept(listener: number): number {
  length.view.setUint32(0, SOCKADDR_BYTES, true);
  const fd = acceptCall(listener, sockaddr.address, length.address, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (fd < 0) return fd;
  const bytes = sockaddr.bytes;
  acceptedPeer.port = (bytes[2]! << 8) | bytes[3]!;
  acceptedPeer.address =
    sockaddr.view.getUint16(0, true) === AF_INET
      ? `${bytes[4]}.${bytes[5]}.${bytes[6]}.${bytes[7]}`
      : formatIp(bytes.subarray(8, 24), 6);
  return fd;
}

/** Starts to connect. Returns the descriptor (connected or on the way), or -errno. */
export function connectTcp(address: IpAddress, port: number): number {
  const fd = openStream(address);
  if (fd < 0) return -errno();
  setOption(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  if (connectCall(fd, sockaddr.address, fillSockaddr(address, port)) === 0) return fd;
  const code = errno();
  if (code === EINPROGRESS) return fd;
  close(fd);
  return -code;
}

/** The pending error of a socket (errno), 0 for none. */
export function socketError(fd: number): number {
  length.view.setUint32(0, 4, true);
  if (getsockoptCall(fd, SOL_SOCKET, SO_ERROR, word.address, length.address) < 0) return errno();
  return word.view.getInt32(0, true);
}

/** What is written from now on leaves when the socket closes or a segment is full: the last bytes and the end in one packet. */
export function holdBack(fd: number): void {
  word.view.setInt32(0, 1, true);
  setsockoptCall(fd, IPPROTO_TCP, TCP_CORK, word.address, 4);
}

/** Closes with a reset instead of a FIN: the peer must not take what it has for the whole. */
export function closeWithReset(fd: number): void {
  word.view.setInt32(0, 1, true);
  word.view.setInt32(4, 0, true);
  setsockoptCall(fd, SOL_SOCKET, SO_LINGER, word.address, 8);
  close(fd);
}

/** An inherited descriptor is not to be inherited any further but by who is given it. */
export function closeOnExec(fd: number): void {
  checked("fcntl", fcntl(fd, F_SETFD, FD_CLOEXEC), `of descriptor ${fd}`);
}

export function createEpoll(): number {
  return checked("epoll_create1", epollCreateCall(SOCK_CLOEXEC));
}

/** Watches a socket edge-triggered for everything, once and for all: no epoll_ctl call ever follows for it. */
export function watchStream(epoll: number, fd: number, generation: number): void {
  addToEpoll(epoll, fd, (EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET) >>> 0, generation);
}

/** Watches a descriptor level-triggered for reading (listeners, other event loops). */
export function watchReadable(epoll: number, fd: number): void {
  addToEpoll(epoll, fd, EPOLLIN, 0);
}

function addToEpoll(epoll: number, fd: number, events: number, generation: number): void {
  event.view.setUint32(0, events, true);
  event.view.setInt32(EPOLL_EVENT_FD_WORD * 4, fd, true);
  event.view.setInt32(EPOLL_EVENT_GENERATION_WORD * 4, generation, true);
  if (epollCtlCall(epoll, EPOLL_CTL_ADD, fd, event.address) < 0) throw new SysError("epoll_ctl", errno());
}

export function unwatch(epoll: number, fd: number): void {
  epollCtlCall(epoll, EPOLL_CTL_DEL, fd, event.address);
}
