/**
 * What the kernel says of a network interface. By ioctl on a socket, so that the answer is about the network
 * namespace that the process is in (a mounted /sys may show another one).
 */
import { DlbaError } from "../conf/errors.ts";
import { bind, checked, libc, nativeMemory, readCString, SysError } from "./ffi.ts";

const c = libc();
const socketCall = bind<[number, number, number], number>(
  c,
  "int socket(int domain, int type, int protocol)",
);
const closeCall = bind<[number], number>(c, "int close(int fd)");
const ioctlCall = bind<[number, number, number], number>(
  c,
  "int ioctl(int fd, unsigned long request, uintptr_t argument)",
);
const indexCall = bind<[string], number>(c, "unsigned int if_nametoindex(const char *name)");

const AF_INET = 2;
const SOCK_DGRAM_CLOEXEC = 0x80002;
const SIOCGIFFLAGS = 0x8913;
const SIOCGIFMTU = 0x8921;
const SIOCGIFHWADDR = 0x8927;
const SIOCETHTOOL = 0x8946;
const ETHTOOL_GDRVINFO = 3;
const IFF_UP = 1;
const IFF_RUNNING = 0x40;
const ARPHRD_ETHER = 1;

// struct ifreq: a name of 16 bytes, then a union of 24.
const IFREQ_BYTES = 40;
const IFREQ_DATA = 16;
// struct ethtool_drvinfo: the command, then the driver's name.
const DRVINFO_BYTES = 256;
const DRVINFO_DRIVER = 4;

export interface InterfaceFacts {
  readonly name: string;
  readonly ifindex: number;
  readonly mac: Uint8Array;
  readonly mtu_bytes: number;
  readonly hasCarrier: boolean;
  /** The driver's name as ethtool shows it; empty when it has none. */
  readonly driver: string;
}

/** Number of an interface. Throws DlbaError NO_INTERFACE. */
export function interfaceIndex(name: string): number {
  const ifindex = indexCall(name);
  if (ifindex !== 0) return ifindex;
  throw new DlbaError("NO_INTERFACE", `there is no network interface ${name}`, { hint: "see: ip link" });
}

/** Reads an Ethernet interface. Throws DlbaError NO_INTERFACE or NOT_ETHERNET, or SysError. */
export function readInterface(name: string): InterfaceFacts {
  const ifindex = interfaceIndex(name);
  const fd = checked("socket", socketCall(AF_INET, SOCK_DGRAM_CLOEXEC, 0));
  const request = nativeMemory(IFREQ_BYTES);
  request.bytes.write(name, 0, 15, "latin1");
  const ask = (call: string, code: number): DataView => {
    checked(call, ioctlCall(fd, code, request.address), name);
    return request.view;
  };
  try {
    const type = ask("SIOCGIFHWADDR", SIOCGIFHWADDR).getUint16(IFREQ_DATA, true);
    const mac = Uint8Array.from(request.bytes.subarray(IFREQ_DATA + 2, IFREQ_DATA + 8));
    if (type !== ARPHRD_ETHER) throw new DlbaError("NOT_ETHERNET", `${name} is not an Ethernet interface`);
    const mtu_bytes = ask("SIOCGIFMTU", SIOCGIFMTU).getInt32(IFREQ_DATA, true);
    const flags = ask("SIOCGIFFLAGS", SIOCGIFFLAGS).getInt16(IFREQ_DATA, true);
    const hasCarrier = (flags & IFF_RUNNING) !== 0;
    return { name, ifindex, mac, mtu_bytes, hasCarrier, driver: driverName(ask, request.view) };
  } finally {
    closeCall(fd);
  }
}

/** Looks again and again, at the cost of one call, whether an interface is up and has a carrier. */
export function openCarrier(name: string): {
  readonly hasCarrier: () => boolean;
  readonly close: () => void;
} {
  const fd = checked("socket", socketCall(AF_INET, SOCK_DGRAM_CLOEXEC, 0));
  const request = nativeMemory(IFREQ_BYTES);
  request.bytes.write(name, 0, 15, "latin1");
  return {
    hasCarrier: () => {
      // An interface that has gone has none.
      if (ioctlCall(fd, SIOCGIFFLAGS, request.address) < 0) return false;
      const flags = request.view.getInt16(IFREQ_DATA, true);
      return (flags & IFF_RUNNING) !== 0 && (flags & IFF_UP) !== 0;
    },
    close: () => void closeCall(fd),
  };
}

function driverName(ask: (call: string, code: number) => DataView, request: DataView): string {
  const info = nativeMemory(DRVINFO_BYTES);
  info.view.setUint32(0, ETHTOOL_GDRVINFO, true);
  request.setBigUint64(IFREQ_DATA, BigInt(info.address), true);
  try {
    ask("SIOCETHTOOL", SIOCETHTOOL);
  } catch (error) {
    if (error instanceof SysError && error.code === "EOPNOTSUPP") return "";
    throw error;
  }
  return readCString(info.address + DRVINFO_DRIVER);
}
