/**
 * Which TCP connections this machine has to given addresses and ports: a dump from the kernel (sock_diag(7)), taken in
 * pieces, so that many connections don't keep the process from its other work.
 */
import { setImmediate as nextTurn } from "node:timers/promises";
import type { Family, IpAddress } from "../conf/address.ts";
import { DlbaError } from "../conf/errors.ts";
import { bind, checked, libc, nativeMemory, SysError, type NativeMemory } from "./ffi.ts";
import { AF_INET, AF_INET6, close, MSG_DONTWAIT, recv, send } from "./sockets.ts";

const AF_NETLINK = 16;
const SOCK_RAW_CLOEXEC = 3 | 0x80000;
const NETLINK_SOCK_DIAG = 4;
/**
 * The older of two ways to ask (struct inet_diag_req). One walk over the kernel's table brings both families; with the
 * newer one there are two, and that for a family without connections is a long one that can't be left.
 */
const TCPDIAG_GETSOCK = 18;
const NLM_F_REQUEST_DUMP = 0x1 | 0x300;
const NLMSG_ERROR = 2;
const NLMSG_DONE = 3;

/** The states of a TCP connection (tcp_states.h) that a socket may be found in here. */
export const TCP_STATES = {
  ESTABLISHED: 1,
  SYN_SENT: 2,
  SYN_RECV: 3,
  FIN_WAIT1: 4,
  FIN_WAIT2: 5,
  CLOSE_WAIT: 8,
  LAST_ACK: 9,
  CLOSING: 11,
} as const;
/** The kernel's own state of a connection that is being accepted; it is told as SYN_RECV. */
const NEW_SYN_RECV = 12;
const STATES_MASK = [...Object.values(TCP_STATES), NEW_SYN_RECV].reduce(
  (mask, state) => mask | (1 << state),
  0,
);

// struct nlmsghdr, then struct inet_diag_req; the answer has struct inet_diag_msg. Offsets from the message's start.
const HEADER_BYTES = 16;
const REQUEST_BYTES = HEADER_BYTES + 60;
const AT = { type: 4, flags: 6, family: 16, states: 68, error: 16 } as const;
// In words of four bytes from inet_diag_msg's start: family and state, ports, local and remote address, inode.
const WORD = { family: 0, ports: 1, local: 2, remote: 6, inode: 17 } as const;

/** The kernel gives 32 KiB at most in one piece. */
const BUFFER_BYTES = 65_536;
/** How long the process is kept busy at a stretch. */
const SLICE_MS = 2;

const socketCall = bind<[number, number, number], number>(
  libc(),
  "int socket(int domain, int type, int protocol)",
);

/** A local address and port that connections are wanted of. */
export interface LocalService {
  readonly address: IpAddress;
  readonly port: number;
}
/** A connection. One object for all: what is to be kept must be copied. */
export interface TcpSocket {
  /** Index of the service. */
  readonly service: number;
  /** Of both addresses; an IPv4 connection on an IPv6 socket is one of IPv4. */
  readonly family: Family;
  /** 16 bytes, IPv4 in the first four, zeros behind. */
  readonly remote: Uint8Array;
  readonly remotePort: number;
  /** Of `TCP_STATES`. */
  readonly state: number;
  /** No process has it any more. */
  readonly isOrphan: boolean;
}

/**
 * Tells of each connection to one of these services, in whatever state but closed, listening or TIME_WAIT; ends with
 * their number. What opens or closes meanwhile may be told or not; and when it closes, one that stays may in rare cases
 * be left out: who must not miss any asks twice. Throws SysError.
 */
export async function eachTcpSocket(
  services: readonly LocalService[],
  onSocket: (socket: TcpSocket) => void,
): Promise<number> {
  const detail = "NETLINK_SOCK_DIAG";
  const fd = checked("socket", socketCall(AF_NETLINK, SOCK_RAW_CLOEXEC, NETLINK_SOCK_DIAG), detail);
  try {
    const buffer = nativeMemory(BUFFER_BYTES);
    writeRequest(buffer);
    checked("send", send(fd, buffer.address, REQUEST_BYTES, 0), detail);
    const reader = pieceReader(buffer, serviceFinder(services), onSocket);
    let sliceEnd_ms = performance.now() + SLICE_MS;
    // Each call makes the kernel write the next piece: it never has to be waited for.
    while (reader.takePiece(checked("recv", recv(fd, buffer.address, BUFFER_BYTES, MSG_DONTWAIT), detail))) {
      if (performance.now() < sliceEnd_ms) continue;
      await nextTurn();
      sliceEnd_ms = performance.now() + SLICE_MS;
    }
    return reader.found();
  } finally {
    close(fd);
  }
}

function writeRequest({ view }: NativeMemory): void {
  view.setUint32(0, REQUEST_BYTES, true);
  view.setUint16(AT.type, TCPDIAG_GETSOCK, true);
  view.setUint16(AT.flags, NLM_F_REQUEST_DUMP, true);
  view.setUint8(AT.family, AF_INET);
  view.setUint32(AT.states, STATES_MASK, true);
}

/** A service's index, or -1. */
type Find = (words: Uint32Array, at: number, family: Family, port: number) => number;

/** Reads pieces of a dump; `takePiece` is false after the last one. */
function pieceReader(
  { view, bytes }: NativeMemory,
  find: Find,
  onSocket: (socket: TcpSocket) => void,
): { takePiece: (length: number) => boolean; found: () => number } {
  const words = new Uint32Array(bytes.buffer, bytes.byteOffset, BUFFER_BYTES / 4);
  const remote = new Uint32Array(4);
  const socket = {
    service: 0,
    family: 4 as Family,
    remote: new Uint8Array(remote.buffer),
    remotePort: 0,
    state: 0,
    isOrphan: false,
  };
  let found = 0;
  const takeSocket = (at: number): void => {
    const head = words[at + WORD.family]!;
    const isMapped = (head & 0xff) === AF_INET6 && isIpv4Mapped(words, at + WORD.local);
    const family = (head & 0xff) === AF_INET || isMapped ? 4 : 6;
    const skip = isMapped ? 3 : 0;
    const ports = words[at + WORD.ports]!;
    const service = find(words, at + WORD.local + skip, family, swapped(ports));
    if (service < 0) return;
    found++;
    for (let i = 0; i < 4; i++) remote[i] = family === 6 || i === 0 ? words[at + WORD.remote + skip + i]! : 0;
    socket.service = service;
    socket.family = family;
    socket.remotePort = swapped(ports >>> 16);
    socket.state = (head >>> 8) & 0xff;
    socket.isOrphan = words[at + WORD.inode] === 0;
    onSocket(socket);
  };
  const takePiece = (length: number): boolean => {
    for (let at = 0; at + HEADER_BYTES <= length; at += (view.getUint32(at, true) + 3) & ~3) {
      const type = view.getUint16(at + AT.type, true);
      if (type === NLMSG_DONE) return false;
      if (type === NLMSG_ERROR) throw new SysError("sock_diag", -view.getInt32(at + AT.error, true));
      if (type === TCPDIAG_GETSOCK) takeSocket((at + HEADER_BYTES) / 4);
    }
    if (length === 0) throw new DlbaError("DUMP_CUT", "the kernel's list of connections ended too early");
    return true;
  };
  return { takePiece, found: () => found };
}

/** A port of the wire in the low half of a word. */
const swapped = (word: number): number => ((word & 0xff) << 8) | ((word >>> 8) & 0xff);

/** ::ffff:0:0/96, as the words of a little-endian machine. */
const isIpv4Mapped = (words: Uint32Array, at: number): boolean =>
  words[at] === 0 && words[at + 1] === 0 && words[at + 2] === 0xffff0000;

interface Wanted {
  readonly index: number;
  readonly family: Family;
  readonly port: number;
  readonly words: Uint32Array;
}

/** Finds a service by the words of an address and a port; -1 when it is none. */
function serviceFinder(services: readonly LocalService[]): Find {
  const isPort = new Uint8Array(65_536);
  const byHash = new Map<number, Wanted[]>();
  services.forEach(({ address, port }, index) => {
    const words = new Uint32Array(Uint8Array.from(address.bytes).buffer);
    const hash = hashOf(words, 0, address.family, port);
    isPort[port] = 1;
    byHash.set(hash, [...(byHash.get(hash) ?? []), { index, family: address.family, port, words }]);
  });
  return (words, at, family, port) => {
    if (isPort[port] === 0) return -1;
    for (const wanted of byHash.get(hashOf(words, at, family, port)) ?? []) {
      if (wanted.family === family && wanted.port === port && hasWords(words, at, wanted))
        return wanted.index;
    }
    return -1;
  };
}

/** Of the machine's own addresses, so nobody outside chooses what is hashed. */
function hashOf(words: Uint32Array, at: number, family: Family, port: number): number {
  let hash = port;
  for (let i = 0; i < (family === 4 ? 1 : 4); i++) hash = Math.imul(hash ^ words[at + i]!, 0x9e3779b1);
  return hash;
}

function hasWords(words: Uint32Array, at: number, wanted: Wanted): boolean {
  for (let i = 0; i < (wanted.family === 4 ? 1 : 4); i++) if (words[at + i] !== wanted.words[i]) return false;
  return true;
}
