/**
 * ICMP echo (RFC 792, RFC 4443) over raw sockets: one for each family, for all addresses that are asked. Nothing here
 * waits in a call: answers are looked for every few milliseconds while one is awaited.
 */
import { randomBytes } from "node:crypto";
import type { Family, IpAddress } from "../conf/address.ts";
import { bind, checked, errno, libc, nativeMemory, SysError } from "./ffi.ts";
import { AF_INET, AF_INET6, close, EAGAIN, MSG_DONTWAIT } from "./sockets.ts";

const SOCK_RAW_NONBLOCK_CLOEXEC = 3 | 0x800 | 0x80000;
const IPPROTO_ICMP = 1;
const IPPROTO_ICMPV6 = 58;
const SOL_RAW = 255;
const ICMP_FILTER = 1;
const ICMP6_FILTER = 1;
const ECHO_REQUEST = 8;
const ECHO_REPLY = 0;
const ECHO_REQUEST6 = 128;
const ECHO_REPLY6 = 129;

const HEADER_BYTES = 8;
/** At random, so that nobody can answer who has not seen the question. */
const NONCE_BYTES = 16;
const MESSAGE_BYTES = HEADER_BYTES + NONCE_BYTES;
const ID_AT = 4;
const SEQUENCE_AT = 6;
const SOCKADDR_BYTES = 28;
const BUFFER_BYTES = 2048;
const POLL_MS = 2;
const MESSAGES_PER_POLL = 256;

const c = libc();
const socketCall = bind<[number, number, number], number>(
  c,
  "int socket(int domain, int type, int protocol)",
);
const setsockoptCall = bind<[number, number, number, number, number], number>(
  c,
  "int setsockopt(int fd, int level, int name, uintptr_t value, uint32_t length)",
);
const sendtoCall = bind<[number, number, number, number, number, number], number>(
  c,
  "int64_t sendto(int fd, uintptr_t buffer, size_t length, int flags, uintptr_t address, uint32_t addressLength)",
);
const recvfromCall = bind<[number, number, number, number, number, number], number>(
  c,
  "int64_t recvfrom(int fd, uintptr_t buffer, size_t length, int flags, uintptr_t address, uintptr_t addressLength)",
);

export interface IcmpSocket {
  /** Whether the address answers within the time. Rejects with SysError (EPERM without CAP_NET_RAW, ENETUNREACH…). */
  echo(address: IpAddress, timeout_ms: number): Promise<boolean>;
  /** Whoever is being asked counts as silent. */
  close(): void;
}

interface Asked {
  readonly address: IpAddress;
  readonly finish: (isAnswered: boolean) => void;
}

/** Sockets are opened when they are first needed. */
export function openIcmpSocket(): IcmpSocket {
  const fds = new Map<Family, number>();
  const asked = new Map<number, Asked>();
  const message = newMessage();
  let sequence = 0;
  let poll: NodeJS.Timeout | undefined;
  const fdFor = (family: Family): number => {
    const fd = fds.get(family) ?? openFd(family);
    fds.set(family, fd);
    return fd;
  };
  const hear = (): void => {
    for (const [family, fd] of fds) {
      message.receiveAll(fd, family, (sequence, from) => {
        const waiting = asked.get(sequence);
        if (waiting?.address.family === family && isSame(from, waiting.address.bytes)) waiting.finish(true);
      });
    }
    poll = asked.size === 0 ? undefined : setTimeout(hear, POLL_MS);
  };
  return {
    echo: (address, timeout_ms) =>
      new Promise((resolve, reject) => {
        const fd = fdFor(address.family);
        do sequence = (sequence + 1) & 0xffff;
        while (asked.has(sequence));
        const own = sequence;
        const timer = setTimeout(() => finish(false), timeout_ms);
        const finish = (isAnswered: boolean): void => {
          clearTimeout(timer);
          asked.delete(own);
          resolve(isAnswered);
        };
        asked.set(own, { address, finish });
        poll ??= setTimeout(hear, POLL_MS);
        try {
          message.send(fd, address, own);
        } catch (error) {
          reject(error);
          finish(false);
        }
      }),
    close: () => {
      clearTimeout(poll);
      for (const { finish } of asked.values()) finish(false);
      for (const fd of fds.values()) close(fd);
      fds.clear();
    },
  };
}

/** A raw socket that lets echo replies through and nothing else. */
function openFd(family: Family): number {
  const [domain, protocol] = family === 4 ? [AF_INET, IPPROTO_ICMP] : [AF_INET6, IPPROTO_ICMPV6];
  const fd = checked("socket", socketCall(domain, SOCK_RAW_NONBLOCK_CLOEXEC, protocol), "for ICMP");
  const filter = nativeMemory(32);
  // A set bit stops a type.
  filter.bytes.fill(0xff);
  if (family === 4) filter.view.setUint32(0, ~(1 << ECHO_REPLY), true);
  else filter.view.setUint32((ECHO_REPLY6 >> 5) * 4, ~(1 << (ECHO_REPLY6 & 31)), true);
  const [level, name, length] = family === 4 ? [SOL_RAW, ICMP_FILTER, 4] : [IPPROTO_ICMPV6, ICMP6_FILTER, 32];
  try {
    checked("setsockopt", setsockoptCall(fd, level, name, filter.address, length), "ICMP_FILTER");
    return fd;
  } catch (error) {
    close(fd);
    throw error;
  }
}

/** The memory of one question and of one answer, and what tells our answers from those of other processes. */
function newMessage() {
  const out = nativeMemory(MESSAGE_BYTES);
  const buffer = nativeMemory(BUFFER_BYTES);
  const sockaddr = nativeMemory(SOCKADDR_BYTES);
  const length = nativeMemory(4);
  const id = randomBytes(2).readUInt16BE();
  const nonce = randomBytes(NONCE_BYTES);
  out.bytes.set(nonce, HEADER_BYTES);
  const send = (fd: number, { family, bytes, text }: IpAddress, sequence: number): void => {
    sockaddr.bytes.fill(0);
    sockaddr.view.setUint16(0, family === 4 ? AF_INET : AF_INET6, true);
    sockaddr.bytes.set(family === 4 ? bytes.subarray(0, 4) : bytes, family === 4 ? 4 : 8);
    out.view.setUint32(0, (family === 4 ? ECHO_REQUEST : ECHO_REQUEST6) * 0x100_0000);
    out.view.setUint16(ID_AT, id);
    out.view.setUint16(SEQUENCE_AT, sequence);
    // The kernel fills in that of ICMPv6.
    if (family === 4) out.view.setUint16(2, checksumOf(out.view));
    const addressLength = family === 4 ? 16 : SOCKADDR_BYTES;
    const sent = sendtoCall(fd, out.address, MESSAGE_BYTES, 0, sockaddr.address, addressLength);
    checked("sendto", sent, text);
  };
  const receive = (fd: number): number => {
    length.view.setUint32(0, SOCKADDR_BYTES, true);
    return recvfromCall(fd, buffer.address, BUFFER_BYTES, MSG_DONTWAIT, sockaddr.address, length.address);
  };
  const receiveAll = (
    fd: number,
    family: Family,
    take: (sequence: number, from: Uint8Array) => void,
  ): void => {
    for (let i = 0; i < MESSAGES_PER_POLL; i++) {
      const got = receive(fd);
      if (got < 0 && errno() === EAGAIN) return;
      if (got < 0) throw new SysError("recvfrom", errno(), "on an ICMP socket");
      // An IPv4 packet comes with its header.
      const at = family === 4 ? (buffer.view.getUint8(0) & 15) * 4 : 0;
      if (got < at + MESSAGE_BYTES || buffer.view.getUint16(at + ID_AT) !== id) continue;
      if (!isSame(nonce, buffer.bytes.subarray(at + HEADER_BYTES))) continue;
      const from = family === 4 ? sockaddr.bytes.subarray(4, 8) : sockaddr.bytes.subarray(8, 24);
      take(buffer.view.getUint16(at + SEQUENCE_AT), from);
    }
  };
  return { send, receiveAll };
}

/** Whether `bytes` begins with all of `start`. */
const isSame = (start: Uint8Array, bytes: Uint8Array): boolean => start.every((byte, i) => byte === bytes[i]);

function checksumOf(message: DataView): number {
  let sum = 0;
  for (let at = 0; at < MESSAGE_BYTES; at += 2) sum += at === 2 ? 0 : message.getUint16(at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}
