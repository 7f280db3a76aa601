/** A syslog daemon that throws everything away: takes datagrams at a Unix socket until it is killed. */
import { bind, checked, libc, nativeMemory } from "../../net/ffi.ts";
import { recv } from "../../net/sockets.ts";

const AF_UNIX = 1;
const SOCK_DGRAM = 2;
const SOCKADDR_UN_BYTES = 110;
const ROOM_BYTES = 65_536;

const openSocket = bind<[number, number, number], number>(
  libc(),
  "int socket(int domain, int type, int protocol)",
);
const bindSocket = bind<[number, number, number], number>(
  libc(),
  "int bind(int fd, uintptr_t address, uint32_t length)",
);

const address = nativeMemory(SOCKADDR_UN_BYTES);
address.view.setUint16(0, AF_UNIX, true);
address.bytes.write(process.argv[2] ?? "", 2);
const fd = checked("socket", openSocket(AF_UNIX, SOCK_DGRAM, 0));
checked("bind", bindSocket(fd, address.address, SOCKADDR_UN_BYTES));
const room = nativeMemory(ROOM_BYTES);
console.log("ready");
for (;;) recv(fd, room.address, ROOM_BYTES, 0);
