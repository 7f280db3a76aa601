/**
 * What the elector goes by, read at the edge: the pages that the data plane and the scheduler process share with this
 * one, the interfaces, and what was heard of the VIPs. Reading costs a few microseconds, no call waits.
 */
import { DlbaError } from "../conf/errors.ts";
import { formatMac } from "../conf/address.ts";
import type { NodeConfig } from "../conf/schema.ts";
import { openControlPage, type ControlPage } from "../net/control-page.ts";
import { newSentTimes } from "../net/heartbeat-memory.ts";
import type { HeartbeatSender } from "../net/heartbeat-sender.ts";
import { interfaceIndex, openCarrier } from "../net/interface.ts";
import { openLease, type Lease } from "../net/lease.ts";
import { queryXdpWaiting } from "../net/libbpf.ts";
import { openNodeFlags, openPeersPage, type NodeFlags, type PeersPage } from "../net/peers-page.ts";
import type { OwnFacts, PageFacts, PeerFacts, PeerRow, VipClaim } from "./facts.ts";
import type { VipClaim as HeardClaim } from "./vip-watch.ts";

/** Its answers are noted in these rows (net/peers-page.ts). */
export const CHANNEL = 0;
/** Whether the program is attached is looked at this often. */
const PROGRAM_EVERY_NS = 500_000_000;
/** A scheduler process that is silent for this long may have made the pages anew when it comes back. */
const SILENT_NS = 500_000_000;

interface Pages {
  readonly lease: Lease;
  readonly controls: readonly ControlPage[];
  readonly peers: readonly PeersPage[];
  readonly flags: readonly NodeFlags[];
}
type Row = { -readonly [Key in keyof PeerRow]: PeerRow[Key] };

export interface Sensed {
  readonly page: PageFacts;
  readonly peers: readonly PeerFacts[];
  readonly own: OwnFacts;
}
export interface Senses {
  /** Undefined until the scheduler process has made the data plane. The next call fills the same objects. */
  read(now_ns: number): Sensed | undefined;
  /** The page to write on; undefined like `read`. */
  lease(): Lease | undefined;
  /** Takes a dead node out of the program's sight, on all segments. */
  markDead(number: number): void;
  /** Who a claim of a VIP comes from. */
  whose(claim: HeardClaim): VipClaim;
  close(): void;
}
export interface SensesOptions {
  readonly pinDir: string;
  readonly interfaces: readonly string[];
  /** All nodes but this one. */
  readonly others: readonly NodeConfig[];
  readonly sender: Pick<HeartbeatSender, "read">;
}

interface State {
  pages: Pages | undefined;
  opened_ns: number;
  hasProgram: boolean;
  looked_ns: number;
  isLooking: boolean;
}

export function openSenses(options: SensesOptions): Senses {
  const { interfaces, others } = options;
  const carriers = interfaces.map(openCarrier);
  const state: State = {
    pages: undefined,
    opened_ns: -Infinity,
    hasProgram: false,
    looked_ns: -Infinity,
    isLooking: false,
  };
  const rows = others.map(({ number }) => ({ number, rows: interfaces.map(newRow) }));
  return {
    read: (now_ns) => {
      refresh(options, state, now_ns);
      const { pages } = state;
      if (pages === undefined) return undefined;
      for (const { number, rows: ofPeer } of rows) {
        ofPeer.forEach((row, slot) => fill(row, pages.peers[slot]!, number, slot, options));
      }
      const hasCarrier = carriers.every((carrier) => carrier.hasCarrier());
      return {
        page: pageFacts(pages.lease),
        peers: rows,
        own: ownFacts(pages, state.hasProgram, hasCarrier),
      };
    },
    lease: () => state.pages?.lease,
    markDead: (number) => state.pages?.flags.forEach((flags) => flags.markDead(number)),
    whose: ({ slot, mac: bytes }) => {
      const mac = formatMac(bytes);
      const peers = state.pages?.peers[slot];
      const member = others.find(({ number }) => macText(peers?.macOf(number)) === mac);
      return member === undefined ? { kind: "foreign", mac } : { kind: "member", number: member.number };
    },
    close: () => {
      closePages(state.pages);
      state.pages = undefined;
      for (const carrier of carriers) carrier.close();
    },
  };
}

const macText = (mac: Uint8Array | undefined): string => (mac === undefined ? "" : formatMac(mac));

function newRow(): Row {
  return {
    sent: newSentTimes(),
    knowsMac: false,
    answered_ns: 0,
    epoch: 0,
    flags: 0,
    table_version: 0,
  };
}

function fill(row: Row, page: PeersPage, number: number, slot: number, { sender }: SensesOptions): void {
  // Questions before answers: what is sent or answered in between is then in the peer's favour.
  sender.read(slot, number, row.sent);
  row.knowsMac = page.macOf(number) !== undefined;
  row.answered_ns = Number(page.answered_ns(number));
  row.epoch = page.epoch(number);
  row.flags = page.flags(number);
  row.table_version = page.table_version(number);
}

function pageFacts(lease: Lease): PageFacts {
  return { until_ns: Number(lease.until_ns()), epoch: lease.epoch(), offered: lease.offered() };
}

function ownFacts({ controls }: Pages, hasProgram: boolean, hasCarrier: boolean): OwnFacts {
  // All interfaces are told the same.
  const control = controls[0];
  return {
    table_version: control?.table_version() ?? 0,
    schedulerTurned_ns: Number(control?.turned_ns() ?? 0n),
    handOverTo: control?.handOverTo(),
    isMerging: control?.isMerging() ?? false,
    hasCarrier,
    hasProgram,
  };
}

/** Opens the pages when they are there, and again after a time in which they may have been made anew. */
function refresh(options: SensesOptions, state: State, now_ns: number): void {
  const turned_ns = Number(state.pages?.controls[0]?.turned_ns() ?? 0n);
  const isSilent = now_ns - turned_ns > SILENT_NS;
  const wait_ns = state.pages === undefined ? 0 : SILENT_NS;
  if (isSilent && now_ns - state.opened_ns >= wait_ns) {
    state.opened_ns = now_ns;
    const fresh = openPages(options);
    if (fresh !== undefined) closePages(state.pages);
    state.pages = fresh ?? state.pages;
  }
  if (now_ns - state.looked_ns < PROGRAM_EVERY_NS) return;
  state.looked_ns = now_ns;
  void lookForProgram(options, state);
}

/** Without holding the tick up, for as long as it takes. */
async function lookForProgram({ interfaces }: SensesOptions, state: State): Promise<void> {
  if (state.isLooking) return;
  state.isLooking = true;
  const found = await Promise.all(interfaces.map(hasProgram));
  state.hasProgram = found.every((has) => has);
  state.isLooking = false;
}

function openPages({ pinDir, interfaces }: SensesOptions): Pages | undefined {
  const opened: { close(): void }[] = [];
  const keep = <Page extends { close(): void }>(page: Page): Page => {
    opened.push(page);
    return page;
  };
  try {
    return {
      lease: keep(openLease(pinDir)),
      controls: interfaces.map((_, slot) => keep(openControlPage(pinDir, slot))),
      peers: interfaces.map((_, slot) => keep(openPeersPage(pinDir, slot, CHANNEL))),
      flags: interfaces.map((_, slot) => keep(openNodeFlags(pinDir, slot))),
    };
  } catch (error) {
    for (const page of opened) page.close();
    if (error instanceof DlbaError && error.code === "NO_DATA_PLANE") return undefined;
    throw error;
  }
}

function closePages(pages: Pages | undefined): void {
  if (pages === undefined) return;
  pages.lease.close();
  for (const page of [...pages.controls, ...pages.peers, ...pages.flags]) page.close();
}

/** Some program is there; if it were another one, no heartbeat would be answered. */
async function hasProgram(name: string): Promise<boolean> {
  try {
    return (await queryXdpWaiting(interfaceIndex(name))).programId !== 0;
  } catch {
    return false; // The interface has gone.
  }
}
