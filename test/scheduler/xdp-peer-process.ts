/**
 * Makes the other end of a veth interface fit for native XDP: a program that passes everything, and no checksum
 * offload. Stays until it is killed. Arguments: the interface, and an object with a program named `pass_all`.
 */
import { bind, checked, libc, nativeMemory } from "../../net/ffi.ts";
import { readInterface } from "../../net/interface.ts";
import { createXdpLink, openBpfObject } from "../../net/libbpf.ts";

const AF_INET = 2;
const SOCK_DGRAM = 2;
const SIOCETHTOOL = 0x8946;
const ETHTOOL_STXCSUM = 0x17;

const [name = "", objectFile = ""] = process.argv.slice(2);

function switchOffChecksums(): void {
  const socket = bind<[number, number, number], number>(
    libc(),
    "int socket(int domain, int type, int protocol)",
  );
  const ioctl = bind<[number, number, number], number>(
    libc(),
    "int ioctl(int fd, unsigned long request, uintptr_t argument)",
  );
  const request = nativeMemory(40);
  const value = nativeMemory(8);
  request.bytes.write(name, 0, 15, "latin1");
  request.view.setBigUint64(16, BigInt(value.address), true);
  value.view.setUint32(0, ETHTOOL_STXCSUM, true);
  checked("ioctl", ioctl(checked("socket", socket(AF_INET, SOCK_DGRAM, 0)), SIOCETHTOOL, request.address));
}

switchOffChecksums();
const object = openBpfObject(objectFile, "pass_all");
object.load();
createXdpLink(object.programFd("pass_all"), readInterface(name).ifindex, "native");
console.log("ready");
setInterval(() => undefined, 1000);
