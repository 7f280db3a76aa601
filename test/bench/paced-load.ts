/**
 * Requests at a rate that doesn't follow the proxy: they fall due at random times (a Poisson process from a fixed seed), and
 * a response time counts from then, so that a proxy that stalls is charged with all that waits meanwhile. A small HTTP/1.1
 * client on epoll, because no packaged load generator does both. Writes the times in microseconds, one a line.
 *
 * Usage: paced-load.ts ADDRESS PORT CONNECTIONS PER_SECOND SECONDS SEED
 */
import { parseIp } from "../../conf/address.ts";
import { randomWords } from "../../conf/random.ts";
import { bind, errno, libc, nativeMemory } from "../../net/ffi.ts";
import * as sockets from "../../net/sockets.ts";

const [address = "", port = "", connections = "", perSecond = "", seconds = "", seed = ""] =
  process.argv.slice(2);
const target = parseIp(address)!;
const EVENTS = 256;
const ROOM_BYTES = 16_384;
const REQUEST = "GET /100 HTTP/1.1\r\nHost: bench\r\n\r\n";
const BODY_BYTES = 100;

const epollWait = bind<[number, number, number, number, number], number>(
  libc(),
  "int epoll_pwait2(int epfd, uintptr_t events, int most, uintptr_t timeout, uintptr_t mask)",
);
const PR_SET_TIMERSLACK = 29;
const prctl = bind<[number, number], number>(libc(), "int prctl(int option, unsigned long value)");

const events = nativeMemory(EVENTS * sockets.EPOLL_EVENT_WORDS * 4);
const words = new Int32Array(events.bytes.buffer, events.bytes.byteOffset, events.bytes.length / 4);
const room = nativeMemory(ROOM_BYTES);
const request = nativeMemory(REQUEST.length);
request.bytes.write(REQUEST, "latin1");
const timeout = nativeMemory(16);

const epoll = sockets.createEpoll();
const idle: number[] = [];
const total = Math.round(Number(perSecond) * Number(seconds));
/** When each request falls due, and when its answer was there, in milliseconds. */
const due_ms = new Float64Array(total);
const done_ms = new Float64Array(total);
/** The request that a descriptor's connection carries. */
const carried = new Int32Array(65_536);
/** What of its answer has not come yet; 0 before the head. */
const missing_bytes = new Int32Array(65_536);

function connectAll(): void {
  for (let i = 0; i < Number(connections); i++) {
    const fd = sockets.connectTcp(target, Number(port));
    if (fd < 0) throw new Error(`no connection: ${-fd}`);
    sockets.watchReadable(epoll, fd);
    idle.push(fd);
  }
}

function schedule(): void {
  const random = randomWords(Number(seed));
  let at_ms = performance.now() + 50;
  for (let i = 0; i < total; i++) {
    at_ms += (-Math.log((random() + 1) / 2 ** 32) * 1000) / Number(perSecond);
    due_ms[i] = at_ms;
  }
}

/** Waits until something comes, or until the time given; returns the number of events. */
function wait(until_ms: number): number {
  const left_ns = Math.max(0, Math.round((until_ms - performance.now()) * 1e6));
  timeout.view.setUint32(0, Math.floor(left_ns / 1e9), true);
  timeout.view.setUint32(8, left_ns % 1e9, true);
  return epollWait(epoll, events.address, EVENTS, timeout.address, 0);
}

/** Takes what there is of an answer, whose head comes in one piece, and says whether that was all of it. */
function takeAnswer(fd: number): boolean {
  const count = sockets.recv(fd, room.address, ROOM_BYTES, sockets.MSG_DONTWAIT);
  if (count <= 0) throw new Error(`a connection ended: ${count === 0 ? "closed" : errno()}`);
  if (missing_bytes[fd] === 0) {
    const text = room.bytes.latin1Slice(0, count);
    const headEnd = text.indexOf("\r\n\r\n");
    if (!text.startsWith("HTTP/1.1 200 ") || headEnd < 0) throw new Error(`not the answer: ${text}`);
    missing_bytes[fd] = headEnd + 4 + BODY_BYTES;
  }
  missing_bytes[fd]! -= count;
  if (missing_bytes[fd]! > 0) return false;
  done_ms[carried[fd]!] = performance.now();
  idle.push(fd);
  return true;
}

function run(): void {
  let next = 0;
  let finished = 0;
  while (finished < total) {
    while (next < total && idle.length > 0 && due_ms[next]! <= performance.now()) {
      const fd = idle.pop()!;
      carried[fd] = next++;
      sockets.send(fd, request.address, REQUEST.length, sockets.MSG_NOSIGNAL);
    }
    const isWaiting = next < total && idle.length > 0;
    const count = wait(isWaiting ? due_ms[next]! : performance.now() + 1000);
    for (let i = 0; i < count; i++) {
      const fd = words[i * sockets.EPOLL_EVENT_WORDS + sockets.EPOLL_EVENT_FD_WORD]!;
      if (takeAnswer(fd)) finished++;
    }
  }
}

prctl(PR_SET_TIMERSLACK, 1);
connectAll();
schedule();
run();
console.log(Array.from(done_ms, (at_ms, i) => Math.round((at_ms - due_ms[i]!) * 1000)).join("\n"));
