/**
 * libbpf by direct calls: objects, maps, pins, XDP links, test runs and the ring buffer. libbpf 1.x returns
 * negative errnos; here they become SysErrors. Descriptors are plain numbers that their receiver closes.
 */
import koffi, { type LibraryHandle } from "koffi";
import { DlbaError } from "../conf/errors.ts";
import { addressOf, bind, bindWaiting, errno, libc, nativeMemory, readCString, SysError } from "./ffi.ts";

const VERIFIER_LOG_BYTES = 1 << 20;
const VERIFIER_LOG_LINES = 12;
const BPF_XDP = 37;
const XDP_FLAGS = { generic: 2, native: 4 } as const;
const XDP_ATTACHED = ["none", "native", "generic", "hardware", "several"] as const;

export type XdpMode = keyof typeof XDP_FLAGS;
type Pointer = number;

let calls: ReturnType<typeof bindCalls> | undefined;
/** Throws DlbaError LIBBPF_MISSING. */
function bpf(): ReturnType<typeof bindCalls> {
  calls ??= bindCalls(loadLibrary());
  return calls;
}

function loadLibrary(): LibraryHandle {
  try {
    return koffi.load("libbpf.so.1");
  } catch (cause) {
    throw new DlbaError("LIBBPF_MISSING", "libbpf.so.1 can't be loaded", {
      cause,
      hint: "on Debian and Ubuntu: apt install libbpf1",
    });
  }
}

function bindCalls(lib: LibraryHandle) {
  // What libbpf would print to standard error reaches the caller as an error with the verifier's log.
  bind<[number], number>(lib, "uintptr_t libbpf_set_print(uintptr_t function)")(0);
  return {
    open: bind<[string, number], Pointer>(
      lib,
      "uintptr_t bpf_object__open_file(const char *path, uintptr_t options)",
    ),
    load: bind<[Pointer], number>(lib, "int bpf_object__load(uintptr_t object)"),
    close: bind<[Pointer], void>(lib, "void bpf_object__close(uintptr_t object)"),
    findMap: bind<[Pointer, string], Pointer>(
      lib,
      "uintptr_t bpf_object__find_map_by_name(uintptr_t object, const char *name)",
    ),
    findProgram: bind<[Pointer, string], Pointer>(
      lib,
      "uintptr_t bpf_object__find_program_by_name(uintptr_t object, const char *name)",
    ),
    mapFd: bind<[Pointer], number>(lib, "int bpf_map__fd(uintptr_t map)"),
    setMaxEntries: bind<[Pointer, number], number>(
      lib,
      "int bpf_map__set_max_entries(uintptr_t map, uint32_t entries)",
    ),
    setPinPath: bind<[Pointer, string], number>(
      lib,
      "int bpf_map__set_pin_path(uintptr_t map, const char *path)",
    ),
    programFd: bind<[Pointer], number>(lib, "int bpf_program__fd(uintptr_t program)"),
    setLog: bind<[Pointer, number, number], number>(
      lib,
      "int bpf_program__set_log_buf(uintptr_t program, uintptr_t buffer, size_t size)",
    ),
    linkCreate: bind<[number, number, number, number], number>(
      lib,
      "int bpf_link_create(int program, int target, int type, uintptr_t options)",
    ),
    linkUpdate: bind<[number, number, number], number>(
      lib,
      "int bpf_link_update(int link, int program, uintptr_t options)",
    ),
    linkDetach: bind<[number], number>(lib, "int bpf_link_detach(int link)"),
    xdpQuery: bind<[number, number, number], number>(
      lib,
      "int bpf_xdp_query(int ifindex, int flags, uintptr_t options)",
    ),
    xdpQueryWaiting: bindWaiting<[number, number, number]>(
      lib,
      "int bpf_xdp_query(int ifindex, int flags, uintptr_t options)",
    ),
    pin: bind<[number, string], number>(lib, "int bpf_obj_pin(int fd, const char *path)"),
    get: bind<[string], number>(lib, "int bpf_obj_get(const char *path)"),
    info: bind<[number, number, number], number>(
      lib,
      "int bpf_obj_get_info_by_fd(int fd, uintptr_t info, uintptr_t length)",
    ),
    update: bind<[number, Uint8Array, Uint8Array, number], number>(
      lib,
      "int bpf_map_update_elem(int fd, const void *key, const void *value, uint64_t flags)",
    ),
    lookup: bind<[number, Uint8Array, Uint8Array], number>(
      lib,
      "int bpf_map_lookup_elem(int fd, const void *key, void *value)",
    ),
    lookupBatch: bind<[number, number, number, Uint8Array, Uint8Array, number, number], number>(
      lib,
      "int bpf_map_lookup_batch(int fd, uintptr_t from, uintptr_t to, void *keys, void *values, uintptr_t count, uintptr_t options)",
    ),
    remove: bind<[number, Uint8Array], number>(lib, "int bpf_map_delete_elem(int fd, const void *key)"),
    nextKey: bind<[number, Uint8Array | null, Uint8Array], number>(
      lib,
      "int bpf_map_get_next_key(int fd, const void *key, void *next)",
    ),
    testRun: bind<[number, number], number>(lib, "int bpf_prog_test_run_opts(int fd, uintptr_t options)"),
    cpus: bind<[], number>(lib, "int libbpf_num_possible_cpus(void)"),
    ringNew: bind<[number, bigint, number, number], Pointer>(
      lib,
      "uintptr_t ring_buffer__new(int fd, uintptr_t callback, uintptr_t context, uintptr_t options)",
    ),
    ringConsume: bind<[Pointer], number>(lib, "int ring_buffer__consume(uintptr_t ring)"),
    ringFree: bind<[Pointer], void>(lib, "void ring_buffer__free(uintptr_t ring)"),
  };
}

const closeCall = bind<[number], number>(libc(), "int close(int fd)");
/** Closes a descriptor of a map, a program or a link. */
export const closeFd = (fd: number): void => void closeCall(fd);

function checkedBpf(call: string, result: number, detail = ""): number {
  if (result < 0) throw new SysError(call, -result, detail);
  return result;
}

/** An object file: first opened, then adjusted, then loaded into the kernel once. */
export interface BpfObject {
  setMaxEntries(map: string, entries: number): void;
  /** The map is taken from this pin when it is there, and pinned there when it is not. */
  setPinPath(map: string, path: string): void;
  /** Throws DlbaError BPF_LOAD_FAILED with the end of the verifier's log. */
  load(): void;
  /** Descriptors live as long as the object. */
  mapFd(map: string): number;
  programFd(program: string): number;
  close(): void;
}

/** Opens a compiled object. Throws SysError, or DlbaError LIBBPF_MISSING. */
export function openBpfObject(path: string, program: string): BpfObject {
  const b = bpf();
  const object = b.open(path, 0);
  if (object === 0) throw new SysError("bpf_object__open_file", errno(), path);
  const log = nativeMemory(VERIFIER_LOG_BYTES);
  const found = (kind: string, name: string, pointer: Pointer): Pointer => {
    if (pointer === 0) throw new DlbaError("BPF_OBJECT_INVALID", `${path} has no ${kind} ${name}`);
    return pointer;
  };
  const map = (name: string): Pointer => found("map", name, b.findMap(object, name));
  const programOf = (name: string): Pointer => found("program", name, b.findProgram(object, name));
  return {
    setMaxEntries: (name, entries) =>
      void checkedBpf("bpf_map__set_max_entries", b.setMaxEntries(map(name), entries), name),
    setPinPath: (name, pin) => void checkedBpf("bpf_map__set_pin_path", b.setPinPath(map(name), pin), pin),
    load: () => {
      b.setLog(programOf(program), log.address, VERIFIER_LOG_BYTES);
      const result = b.load(object);
      if (result < 0) throw loadError(path, result, readCString(log.address));
    },
    mapFd: (name) => checkedBpf("bpf_map__fd", b.mapFd(map(name)), name),
    programFd: (name) => checkedBpf("bpf_program__fd", b.programFd(programOf(name)), name),
    close: () => b.close(object),
  };
}

function loadError(path: string, result: number, log: string): DlbaError {
  const tail = log.trim().split("\n").slice(-VERIFIER_LOG_LINES).join("\n");
  const said = tail === "" ? "" : `; the verifier said:\n${tail}`;
  return new DlbaError("BPF_LOAD_FAILED", `the kernel did not take ${path}${said}`, {
    cause: new SysError("bpf_object__load", -result),
    hint: result === -1 ? "it needs root, or CAP_BPF and CAP_NET_ADMIN" : "it needs Linux 6.1 or newer",
  });
}

/** Opens a pinned map or link; undefined when there is no such pin. */
export function openPinned(path: string): number | undefined {
  const fd = bpf().get(path);
  if (fd === -2) return undefined;
  return checkedBpf("bpf_obj_get", fd, path);
}

/** Opens a pin, uses it and closes it. Throws DlbaError NO_DATA_PLANE when it isn't there. */
export function usePinned<T>(path: string, use: (fd: number) => T): T {
  const fd = openPinned(path);
  if (fd === undefined) throw new DlbaError("NO_DATA_PLANE", `there is no pinned map ${path}`);
  try {
    return use(fd);
  } finally {
    closeFd(fd);
  }
}

/** Pins a map, a program or a link, so that it outlives all processes. */
export function pin(fd: number, path: string): void {
  checkedBpf("bpf_obj_pin", bpf().pin(fd, path), path);
}

const info = nativeMemory(256);
const infoLength = nativeMemory(4);
function readInfo(fd: number): DataView {
  info.bytes.fill(0);
  infoLength.view.setUint32(0, info.bytes.length, true);
  checkedBpf("bpf_obj_get_info_by_fd", bpf().info(fd, info.address, infoLength.address));
  return info.view;
}

export interface MapInfo {
  readonly type: number;
  readonly key_bytes: number;
  readonly value_bytes: number;
  readonly max_entries: number;
}
/** A map's measures (struct bpf_map_info). */
export function mapInfo(fd: number): MapInfo {
  const view = readInfo(fd);
  const word = (index: number): number => view.getUint32(index * 4, true);
  return { type: word(0), key_bytes: word(2), value_bytes: word(3), max_entries: word(4) };
}

/** Interface that an XDP link is attached to (struct bpf_link_info); 0 when the interface is gone. */
export function xdpLinkIfindex(fd: number): number {
  return readInfo(fd).getUint32(16, true);
}

const options = nativeMemory(128);
function optionsOf(size_bytes: number): DataView {
  options.bytes.fill(0);
  options.view.setBigUint64(0, BigInt(size_bytes), true);
  return options.view;
}

/** Attaches a program to an interface and returns the link's descriptor. EBUSY and EEXIST: another one is there. */
export function createXdpLink(programFd: number, ifindex: number, mode: XdpMode): number {
  optionsOf(16).setUint32(8, XDP_FLAGS[mode], true);
  return checkedBpf("bpf_link_create", bpf().linkCreate(programFd, ifindex, BPF_XDP, options.address), mode);
}

/** Replaces a link's program, without a packet in between that meets none. */
export function updateLink(linkFd: number, programFd: number): void {
  checkedBpf("bpf_link_update", bpf().linkUpdate(linkFd, programFd, 0));
}

/** Takes a link's program off its interface. */
export function detachLink(linkFd: number): void {
  checkedBpf("bpf_link_detach", bpf().linkDetach(linkFd));
}

export interface XdpState {
  readonly mode: (typeof XDP_ATTACHED)[number];
  /** Id of the program; 0 for none. */
  readonly programId: number;
}
const QUERY_BYTES = 32;

/** What XDP program an interface has now. */
export function queryXdp(ifindex: number): XdpState {
  const view = optionsOf(QUERY_BYTES);
  checkedBpf("bpf_xdp_query", bpf().xdpQuery(ifindex, 0, options.address));
  return xdpState(view);
}

/**
 * The same without holding this thread up: the kernel answers under a lock that it may keep for hundreds of
 * milliseconds while other interfaces are changed.
 */
export async function queryXdpWaiting(ifindex: number): Promise<XdpState> {
  const own = nativeMemory(QUERY_BYTES);
  own.view.setBigUint64(0, BigInt(QUERY_BYTES), true);
  checkedBpf("bpf_xdp_query", await bpf().xdpQueryWaiting(ifindex, 0, own.address));
  return xdpState(own.view);
}

function xdpState(view: DataView): XdpState {
  const mode = XDP_ATTACHED[view.getUint8(24)] ?? "none";
  const ids = [8, 12, 16, 20].map((offset) => view.getUint32(offset, true));
  return { mode, programId: ids.find((id) => id !== 0) ?? 0 };
}

/** Writes one entry of a map. */
export function updateMap(fd: number, key: Uint8Array, value: Uint8Array): void {
  checkedBpf("bpf_map_update_elem", bpf().update(fd, key, value, 0));
}

/** Reads one entry into `value` (per-CPU maps: eight bytes aligned, one after the other); false when absent. */
export function lookupMap(fd: number, key: Uint8Array, value: Uint8Array): boolean {
  const result = bpf().lookup(fd, key, value);
  if (result === -2) return false;
  checkedBpf("bpf_map_lookup_elem", result);
  return true;
}

const BATCH_BYTES = 1 << 18;
const batchCursor = nativeMemory(4);
const batchCount = nativeMemory(4);
/**
 * Reads all entries of an array map, in order, about `BATCH_BYTES` at a time (per-CPU maps as `lookupMap`). The
 * values are valid during the call only.
 */
export function readArrayMap(
  fd: number,
  entry_bytes: number,
  take: (values: Buffer, first: number, count: number) => void,
): void {
  const entries = Math.max(1, Math.floor(BATCH_BYTES / entry_bytes));
  const keys = Buffer.alloc(entries * 4);
  const values = Buffer.alloc(entries * entry_bytes);
  for (let first = 0; ;) {
    batchCount.view.setUint32(0, entries, true);
    const from = first === 0 ? 0 : batchCursor.address;
    const cursor = batchCursor.address;
    const result = bpf().lookupBatch(fd, from, cursor, keys, values, batchCount.address, 0);
    // "No such entry" says that these were the last.
    if (result !== -2) checkedBpf("bpf_map_lookup_batch", result);
    const count = batchCount.view.getUint32(0, true);
    take(values, first, count);
    if (result === -2 || count === 0) return;
    first += count;
  }
}

/** Removes one entry; absent ones are no error. */
export function removeFromMap(fd: number, key: Uint8Array): void {
  const result = bpf().remove(fd, key);
  if (result !== -2) checkedBpf("bpf_map_delete_elem", result);
}

/** All keys of a map. */
export function mapKeys(fd: number, key_bytes: number): Buffer[] {
  const keys: Buffer[] = [];
  let last: Buffer | null = null;
  for (;;) {
    const next: Buffer = Buffer.alloc(key_bytes);
    const result = bpf().nextKey(fd, last, next);
    if (result === -2) return keys;
    checkedBpf("bpf_map_get_next_key", result);
    keys.push(next);
    last = next;
  }
}

/** How many values an entry of a per-CPU map has. */
export const possibleCpus = (): number => checkedBpf("libbpf_num_possible_cpus", bpf().cpus());

export interface TestRun {
  readonly verdict: number;
  readonly out: Buffer;
  /** Average over the repetitions. */
  readonly duration_ns: number;
}
/** Runs a program on a packet of the caller's (BPF_PROG_TEST_RUN); nothing goes to a network. */
export function testRun(programFd: number, packet: Uint8Array, repeat = 1): TestRun {
  const view = optionsOf(80);
  const out = Buffer.alloc(packet.length + 512);
  view.setBigUint64(8, BigInt(addressOf(packet)), true);
  view.setBigUint64(16, BigInt(addressOf(out)), true);
  view.setUint32(24, packet.length, true);
  view.setUint32(28, out.length, true);
  view.setInt32(60, repeat, true);
  checkedBpf("bpf_prog_test_run_opts", bpf().testRun(programFd, options.address));
  const size_bytes = view.getUint32(28, true);
  return {
    verdict: view.getUint32(56, true),
    out: out.subarray(0, size_bytes),
    duration_ns: view.getUint32(64, true),
  };
}

/** The receiving end of a ring buffer map. */
export interface Ring {
  /** Hands over what has come, record by record; the view is valid during the call only. Returns how many. */
  consume(): number;
  close(): void;
}

const onSample = koffi.proto("int DlbaRingSample(uintptr_t context, uintptr_t data, size_t size)");

/** Opens a ring buffer map for records of a fixed size. */
export function openRing(fd: number, record_bytes: number, onRecord: (record: DataView) => void): Ring {
  const record = (_context: number, data: number): number => {
    onRecord(new DataView(koffi.view(data, record_bytes)));
    return 0;
  };
  const callback = koffi.register(record, koffi.pointer(onSample));
  const ring = bpf().ringNew(fd, koffi.address(callback), 0, 0);
  if (ring === 0) throw new SysError("ring_buffer__new", errno());
  return {
    consume: () => checkedBpf("ring_buffer__consume", bpf().ringConsume(ring)),
    close: () => {
      bpf().ringFree(ring);
      koffi.unregister(callback);
    },
  };
}
