/** Puts the program on an interface, or into the link that an earlier process has left there. */
import { DlbaError, describeError } from "../../conf/errors.ts";
import { SysError } from "../../net/ffi.ts";
import { readInterface, type InterfaceFacts } from "../../net/interface.ts";
import {
  closeFd,
  createXdpLink,
  openPinned,
  pin,
  queryXdp,
  updateLink,
  xdpLinkIfindex,
  type XdpMode,
} from "../../net/libbpf.ts";
import { linkPin, removeLink } from "./pins.ts";

export interface Attachment {
  readonly mode: XdpMode;
  /** Why it runs in this mode, for the log. */
  readonly reason: string;
}

/**
 * Errors: XDP_BUSY when another program is on the interface; XDP_NATIVE_UNSUPPORTED when native mode is asked
 * for by name and the driver can't; SysError otherwise.
 */
export function attach(
  programFd: number,
  interfaceName: string,
  wanted: XdpMode | "auto",
  pinDir: string,
  slot: number,
): Attachment {
  const facts = readInterface(interfaceName);
  const adopted = adoptLink(programFd, facts, wanted, pinDir, slot);
  if (adopted !== undefined) return adopted;
  const { linkFd, ...attachment } = createLink(programFd, facts, wanted);
  try {
    pin(linkFd, linkPin(pinDir, slot));
  } finally {
    closeFd(linkFd);
  }
  return attachment;
}

/** Updates the pinned link in place when it is on the right interface in a mode that is wanted. */
function adoptLink(
  programFd: number,
  facts: InterfaceFacts,
  wanted: XdpMode | "auto",
  pinDir: string,
  slot: number,
): Attachment | undefined {
  const linkFd = openPinned(linkPin(pinDir, slot));
  if (linkFd === undefined) return undefined;
  try {
    const { mode } = queryXdp(facts.ifindex);
    const isOurs = xdpLinkIfindex(linkFd) === facts.ifindex;
    if (isOurs && (mode === "native" || mode === "generic") && (wanted === "auto" || wanted === mode)) {
      updateLink(linkFd, programFd);
      return { mode, reason: "the pinned link was taken over" };
    }
  } finally {
    closeFd(linkFd);
  }
  // It is on an interface that has gone, or in the wrong mode.
  removeLink(pinDir, slot);
  return undefined;
}

function createLink(
  programFd: number,
  facts: InterfaceFacts,
  wanted: XdpMode | "auto",
): Attachment & { linkFd: number } {
  const generic = (reason: string) => ({
    linkFd: tryLink(programFd, facts, "generic"),
    mode: "generic" as const,
    reason,
  });
  if (wanted === "generic") return generic("the configuration asks for it");
  if (wanted === "auto" && facts.driver === "veth") {
    // Native mode on veth loses frames unless the peer runs a program of its own and has offloads off.
    return generic("native mode on veth needs a program on the peer, too");
  }
  try {
    const linkFd = tryLink(programFd, facts, "native");
    return { linkFd, mode: "native", reason: `the driver ${facts.driver} can` };
  } catch (cause) {
    if (!(cause instanceof SysError) || cause.code === "EPERM") throw cause;
    if (wanted === "auto") return generic(`the driver ${facts.driver} can't: ${describeError(cause)}`);
    const text = `${facts.name} (driver ${facts.driver}, MTU ${facts.mtu_bytes}) can't run XDP natively`;
    throw new DlbaError("XDP_NATIVE_UNSUPPORTED", text, { cause, hint: "set scheduler.xdp to auto" });
  }
}

function tryLink(programFd: number, facts: InterfaceFacts, mode: XdpMode): number {
  try {
    return createXdpLink(programFd, facts.ifindex, mode);
  } catch (cause) {
    if (!(cause instanceof SysError) || (cause.code !== "EBUSY" && cause.code !== "EEXIST")) throw cause;
    const { programId } = queryXdp(facts.ifindex);
    throw new DlbaError("XDP_BUSY", `another XDP program (id ${programId}) is on ${facts.name}`, {
      cause,
      hint: `see: bpftool net show dev ${facts.name}; take it off with: ip link set dev ${facts.name} xdp off`,
    });
  }
}
