/**
 * The scheduler process of a machine: the production's roles, takeover, policy, steering and feed, and an edge like the
 * production's around them. All nodes serve, and tell again and again which connections they have of buckets that are others'.
 */
import { DlbaError } from "../../conf/errors.ts";
import { SCATTERED_LEAST_MS } from "../../conf/limits.ts";
import type { TableArea } from "../../scheduler/arrangement.ts";
import {
  bitmapOf,
  hasBit,
  isLater,
  type FeedMessage,
  type FollowerMessage,
} from "../../scheduler/feed/feed-message.ts";
import {
  acknowledged,
  due,
  gone,
  recordFlags,
  sendAgain,
  setLiving,
  versionOf,
  waitingCount,
  welcome,
  inStep,
} from "../../scheduler/feed/feed.ts";
import {
  createFollow,
  flagsOf,
  hello,
  isFollowing,
  take,
  unlink,
  type Follow,
  endKeeping,
} from "../../scheduler/feed/follow.ts";
import { beginHandOver, stepHandOver, type HandOver } from "../../scheduler/handing-over.ts";
import { addMerge, createMerging, mergeTurn, type Merging } from "../../scheduler/merging.ts";
import { createRoles, type Left, type Roles } from "../../scheduler/roles.ts";
import { createScattering, scatterAll, takeElsewhere, type Scattering } from "../../scheduler/scattering.ts";
import { kernelMoved, steerNodes, turn, type Steering } from "../../scheduler/steering.ts";
import { ownerOf, readWord } from "../../scheduler/table.ts";
import { giveUp, renewAccesses, takeOver } from "../../scheduler/takeover.ts";
import { checkLoss, checkTakeover } from "./checks.ts";
import { BUCKETS, REACHABLE, SCATTERED, UP } from "./kernel.ts";
import { FIRST_FAULT_MS } from "./plan.ts";
import { closeStream, openStream, say, type Stream } from "./streams.ts";
import { fail, isLinked, localTime, machineOf, MS, note, send, type Machine, type World } from "./world.ts";

const TURN_NS = 8 * MS;
const HEARTBEAT_NS = 20 * MS;
const DEAD_AFTER_NS = 80 * MS;
/** After a stall of its own a process waits so long for what may have come. */
const CHANCE_NS = 25 * MS;
/** Much oftener than in the production, as runs are short: nodes look at their connections. */
const LOOK_NS = 100 * MS;
/** So long the nodes are scattered at the array's first start, when there are no connections: faults are to find it in calm, too. */
const FIRST_LEAST_MS = 250;

interface Member {
  readonly number: number;
  heard_ns: number;
  isReachable: boolean;
  isUp: boolean;
  /** It has missed changes: the version that it needs, once it can be reached. */
  isBehind: boolean;
  catchUp: number | undefined;
}
interface Scheduling {
  readonly kind: "scheduling";
  readonly machine: Machine;
  readonly epoch: number;
  readonly steering: Steering;
  readonly merging: Merging;
  readonly scattering: Scattering;
  readonly members: readonly Member[];
  readonly streams: Map<number, Stream>;
  asked_ns: number;
  /** When it has last looked at its own connections. */
  looked_ns: number;
  handOver: HandOver | undefined;
  stop(): Promise<void>;
  giveUp(): Follow;
}
interface Following {
  readonly kind: "following";
  readonly epoch: number;
  readonly scheduler: number | undefined;
  readonly follow: Follow;
  stream: Stream | undefined;
  /** When it has last told of its connections. */
  looked_ns: number;
  /** When it tries to connect again. */
  retry_ns: number;
  stop(): Promise<void>;
  giveUp(): Follow;
}
export interface SchedulerProcess {
  readonly roles: Roles<Scheduling | Following>;
  turned_ns: number;
  graceUntil_ns: number;
}

const areaOf = ({ kernel }: Machine): TableArea => {
  return { name: "", group: 0, base: 0, table: kernel.table, size: BUCKETS };
};

/** Starts the process of a machine that is on. */
export function startScheduler(world: World, machine: Machine): void {
  const starts = {
    number: machine.number,
    schedule: (epoch: number, left: Left) => schedule(world, machine, epoch, left),
    follow: (epoch: number, scheduler: number | undefined, { follow }: Left) =>
      followingOf(epoch, scheduler, follow),
  };
  const follow = createFollow({ number: machine.number, groups: [areaOf(machine)] });
  const process: SchedulerProcess = {
    roles: createRoles<Scheduling | Following>(starts, follow),
    turned_ns: world.timeline.now_ns,
    graceUntil_ns: 0,
  };
  machine.scheduler = process;
  loop(world, machine, process);
}

/** It is killed: what it had open is closed by its kernel. */
export function killScheduler(machine: Machine): void {
  const role = machine.scheduler?.roles.current();
  void role?.stop();
  machine.scheduler = undefined;
}

/** An operator wants another node to take over from a machine that schedules. */
export function wishHandOver(world: World, machine: Machine, target: number): void {
  const role = machine.scheduler?.roles.current();
  if (role?.kind !== "scheduling" || role.handOver !== undefined || target === machine.number) return;
  role.handOver = beginHandOver(target, BigInt(Math.floor(localTime(world, machine))));
  role.steering.isFrozen = true;
}

/** As scheduling.ts does. */
function handOverTurn({ kernel }: Machine, role: Scheduling, now_ns: bigint): void {
  const { handOver, steering } = role;
  if (handOver === undefined) return;
  const { feed } = steering;
  const targetVersion = versionOf(feed, handOver.target);
  const { version } = feed;
  const step = stepHandOver(handOver, { now_ns, version, targetVersion, waiting: waitingCount(feed) });
  if (step === "offer") kernel.control.handOverTo = handOver.target;
  if (step !== "give up") return;
  role.handOver = undefined;
  steering.isFrozen = false;
  kernel.control.handOverTo = undefined;
}

function loop(world: World, machine: Machine, process: SchedulerProcess): void {
  const { timeline } = world;
  if (machine.scheduler !== process) return;
  const again = (): void => loop(world, machine, process);
  if (machine.schedulerStall_ns > timeline.now_ns) {
    timeline.at(machine.schedulerStall_ns + 0.1 * MS, again);
    return;
  }
  const { control, page } = machine.kernel;
  if (timeline.now_ns - process.turned_ns > 30 * MS) process.graceUntil_ns = timeline.now_ns + CHANCE_NS;
  process.turned_ns = timeline.now_ns;
  control.turned_ns = localTime(world, machine);
  if (process.roles.turn(page.epoch)) control.handOverTo = undefined;
  const role = process.roles.current()!;
  if (role.kind === "scheduling") takeTurn(world, machine, process, role);
  else followOn(world, machine, role);
  timeline.in(TURN_NS + world.chance() * MS, again);
}

function schedule(world: World, machine: Machine, epoch: number, { follow }: Left): Scheduling {
  const { kernel, number } = machine;
  const area = areaOf(machine);
  const words = (): Int32Array => Int32Array.from({ length: BUCKETS }, (_, i) => readWord(kernel.table, i));
  const isOther = endKeeping(follow);
  const before = words();
  const steering = takeOver({
    number,
    epoch,
    history: `${epoch}-${Math.floor(world.chance() * 2 ** 32)}`.padStart(32, "0"),
    areas: [area],
    follow,
    toldVersion: kernel.control.table_version,
    seed: 1,
    settings: { timeout_units: 1_000_000, fill_s: 30 },
  });
  renewAccesses([area], Math.ceil(localTime(world, machine) / 2 ** 30));
  const members = [...kernel.rows.keys()].map((of): Member => {
    const flags = kernel.flags[of]!;
    const isUp = (flags & UP) !== 0;
    const isReachable = (flags & REACHABLE) !== 0;
    return {
      number: of,
      heard_ns: world.timeline.now_ns,
      isReachable,
      isUp,
      isBehind: !isUp,
      catchUp: undefined,
    };
  });
  const role: Scheduling = {
    kind: "scheduling",
    machine,
    epoch,
    steering,
    merging: createMerging(),
    scattering: createScattering([number, ...kernel.rows.keys()], scatteredSince_ns(world, machine)),
    members,
    streams: new Map(),
    asked_ns: 0,
    looked_ns: world.timeline.now_ns,
    handOver: undefined,
    stop: async () => {
      for (const stream of role.streams.values()) closeStream(stream);
    },
    giveUp: () => giveUp(steering),
  };
  if (!kernel.control.hasTable && epoch > 512) checkLoss(world, machine);
  kernel.control.hasTable = true;
  kernel.control.isInDoubt = false;
  tellNodes(
    machine,
    role,
    members.filter(({ isReachable }) => !isReachable).map((member) => member.number),
  );
  const now_ns = BigInt(Math.floor(localTime(world, machine)));
  if (isOther) addMerge(role.merging, steering, { number, bits: connectedAt(world, number), now_ns });
  turn(steering, now_ns);
  checkTakeover(world, machine, { before, after: words() });
  note(world, machine, `its process schedules, from version ${steering.feed.first}`);
  return role;
}

/** Now; at the array's first start as though it had been a while ago. */
function scatteredSince_ns(world: World, machine: Machine): bigint {
  const isFirst = world.timeline.now_ns < FIRST_FAULT_MS * MS;
  const ago_ms = isFirst ? SCATTERED_LEAST_MS - FIRST_LEAST_MS : 0;
  return BigInt(Math.floor(localTime(world, machine) - ago_ms * MS));
}

function takeTurn(world: World, machine: Machine, process: SchedulerProcess, role: Scheduling): void {
  const { steering, merging } = role;
  const { kernel } = machine;
  const now_ns = BigInt(Math.floor(localTime(world, machine)));
  for (const bucket of kernel.moved.splice(0)) kernelMoved(steering, bucket);
  if (world.timeline.now_ns - role.asked_ns >= HEARTBEAT_NS) askAll(world, machine, role);
  if (world.timeline.now_ns - role.looked_ns >= LOOK_NS) {
    role.looked_ns = world.timeline.now_ns;
    takeTold(machine, role, { number: machine.number, bits: elsewhereAt(world, machine), now_ns });
  }
  handOverTurn(machine, role, now_ns);
  judge(world, machine, process, role);
  const behind = role.members.filter((member) => member.isReachable && !inStep(steering.feed, member.number));
  mergeTurn(merging, steering, { now_ns, behind: behind.map((member) => member.number) });
  turn(steering, now_ns);
  kernel.control.table_version = steering.feed.version;
  kernel.control.isMerging = merging.merges.length > 0;
  for (const [number, stream] of role.streams) tellFollower(world, role, number, stream);
}

function askAll(world: World, machine: Machine, role: Scheduling): void {
  role.asked_ns = world.timeline.now_ns;
  for (const member of role.members) {
    const to = machineOf(world, member.number);
    // That the question takes some time is of no account here.
    if (to.noProgram > 0 || to.kernelStall_ns > world.timeline.now_ns || !isLinked(world, machine, to, 0))
      continue;
    send(world, { from: to, to: machine, slot: 0 }, () => (member.heard_ns = world.timeline.now_ns));
  }
}

/** As nodes/members.ts does, but for the sweep. */
function judge(
  { timeline }: World,
  machine: Machine,
  { graceUntil_ns }: SchedulerProcess,
  role: Scheduling,
): void {
  const dead: number[] = [];
  let hasChanged = false;
  for (const member of role.members) {
    const before = member.isUp;
    const wasReachable = member.isReachable;
    const isSilent = timeline.now_ns - member.heard_ns > DEAD_AFTER_NS;
    if (isSilent && timeline.now_ns >= graceUntil_ns) member.isReachable = false;
    else if (!isSilent) member.isReachable = true;
    noteStep(role, member);
    member.isUp = member.isReachable && !member.isBehind;
    if (wasReachable && !member.isReachable) dead.push(member.number);
    if (before !== member.isUp || wasReachable !== member.isReachable) hasChanged = true;
  }
  if (hasChanged) tellNodes(machine, role, dead);
}

function noteStep({ steering: { feed } }: Scheduling, member: Member): void {
  if (!member.isReachable) {
    member.isBehind = true;
    member.catchUp = undefined;
  } else if (member.isBehind) {
    const version = versionOf(feed, member.number);
    if (version === null) member.catchUp = undefined;
    else if (member.catchUp === undefined) member.catchUp = feed.version;
    else if (version >= member.catchUp) member.isBehind = false;
  }
}

function tellNodes(
  { kernel, number }: Machine,
  { steering, members, scattering }: Scheduling,
  dead: readonly number[],
): void {
  const scattered = (of: number): number => (scattering.numbers.has(of) ? SCATTERED : 0);
  const flags = new Map([[number, UP | REACHABLE | scattered(number)]]);
  for (const { number: of, isUp, isReachable } of members) {
    flags.set(of, (isUp ? UP : 0) | (isReachable ? REACHABLE : 0) | scattered(of));
    kernel.flags[of] = flags.get(of)!;
  }
  const up = members.filter(({ isUp }) => isUp).map((member) => member.number);
  setLiving(steering.feed, new Set(up));
  recordFlags(steering.feed, "", flags);
  const nodes = [...flags].map(([of, value]) => {
    const condition = (value & REACHABLE) === 0 ? "down" : (value & UP) === 0 ? "leaving" : "up";
    return { number: of, weight: 1, condition } as const;
  });
  steerNodes(steering, "", nodes, dead);
}

/** A node has told of its connections of others' buckets. */
function takeTold(machine: Machine, role: Scheduling, told: Parameters<typeof takeElsewhere>[2]): void {
  if (takeElsewhere(role.scattering, role.steering, told)) tellNodes(machine, role, []);
}

function followingOf(epoch: number, scheduler: number | undefined, follow: Follow): Following {
  const role: Following = {
    kind: "following",
    epoch,
    scheduler,
    follow,
    stream: undefined,
    looked_ns: 0,
    retry_ns: 0,
    stop: async () => {
      if (role.stream !== undefined) closeStream(role.stream);
      unlink(follow);
    },
    giveUp: () => follow,
  };
  return role;
}

function followOn(world: World, machine: Machine, role: Following): void {
  const { follow, epoch } = role;
  machine.kernel.moved.length = 0;
  const { control } = machine.kernel;
  const isInUse = follow.isWhole && follow.keeps === undefined;
  control.table_version = isInUse && follow.position.epoch === epoch ? follow.position.version : 0;
  control.isMerging = false;
  control.isInDoubt = !isFollowing(follow);
  if (isFollowing(follow) && world.timeline.now_ns - role.looked_ns >= LOOK_NS)
    tellElsewhere(world, machine, role);
  if (role.scheduler === undefined || role.stream !== undefined || world.timeline.now_ns < role.retry_ns)
    return;
  role.retry_ns = world.timeline.now_ns + (20 + world.chance() * 80) * MS;
  const sender = machineOf(world, role.scheduler);
  const senders = sender.scheduler?.roles.current();
  if (senders?.kind !== "scheduling" || sender.schedulerStall_ns > world.timeline.now_ns) return;
  const stream = openStream(world, machine, sender);
  if (stream === undefined) return;
  role.stream = stream;
  stream.onClose = () => {
    role.stream = undefined;
    role.retry_ns = world.timeline.now_ns + 20 * MS;
    unlink(follow);
    gone(senders.steering.feed, machine.number);
    if (senders.streams.get(machine.number) === stream) senders.streams.delete(machine.number);
  };
  const message = hello(follow);
  say(world, stream, "sender", () => greet(world, senders, machine.number, stream, message));
}

function greet(
  world: World,
  senders: Scheduling,
  number: number,
  stream: Stream,
  message: ReturnType<typeof hello>,
): void {
  const { kind } = welcome(senders.steering.feed, message, 0);
  if (kind !== "full" && kind !== "continue") return closeStream(stream);
  senders.streams.set(number, stream);
  tellFollower(world, senders, number, stream);
}

const MOST_UNDER_WAY = 32;

function tellFollower(world: World, senders: Scheduling, number: number, stream: Stream): void {
  while (stream.isOpen && stream.toFollower.length < MOST_UNDER_WAY) {
    const message = due(senders.steering.feed, number);
    if (message === undefined) return;
    say(world, stream, "follower", () => takeMessage(world, senders, stream, message));
  }
}

function takeMessage(world: World, senders: Scheduling, stream: Stream, message: FeedMessage): void {
  const { follower } = stream;
  const role = follower.scheduler?.roles.current();
  if (role?.kind !== "following" || role.stream !== stream) return;
  const { follow } = role;
  const before = follow.position;
  const { seen } = follow;
  try {
    const { reply, hasFlags, isOpening, tellsConnected } = take(follow, message);
    if (isLater(before, follow.position) || follow.seen < seen) {
      fail(world, "position", `node ${follower.number} goes back to version ${follow.position.version}`);
    }
    if (hasFlags === true || isOpening === true) applyFlags(follower, role);
    if (isOpening === true) follower.kernel.control.hasTable = true;
    if (tellsConnected === true) tellConnected(world, senders, stream);
    const { version } = follow.position;
    if (reply === "again") hearFollower(world, senders, stream, { kind: "again", reason: "" });
    else if (reply === "acknowledge")
      hearFollower(world, senders, stream, { kind: "acknowledged", version, isInUse: isFollowing(follow) });
  } catch (error) {
    if (!(error instanceof DlbaError)) throw error;
    note(world, follower, `can't follow: ${error.message}`);
    closeStream(stream);
  }
}

function hearFollower(world: World, senders: Scheduling, stream: Stream, message: FollowerMessage): void {
  const { number } = stream.follower;
  say(world, stream, "sender", () => {
    const { feed } = senders.steering;
    if (message.kind === "again") sendAgain(feed, number);
    else if (
      message.kind === "acknowledged" &&
      !acknowledged(feed, number, message.version, message.isInUse)
    ) {
      fail(
        world,
        "position",
        `node ${number} acknowledges version ${message.version}, which it was not sent`,
      );
    }
    tellFollower(world, senders, number, stream);
  });
}

function tellConnected(world: World, senders: Scheduling, stream: Stream): void {
  const { number } = stream.follower;
  const bits = connectedAt(world, number);
  say(world, stream, "sender", () => {
    const now_ns = BigInt(Math.floor(localTime(world, senders.machine)));
    addMerge(senders.merging, senders.steering, { number, bits, now_ns });
    const { scattering, members, machine } = senders;
    scatterAll(scattering, [machine.number, ...members.map((member) => member.number)], now_ns);
    tellNodes(machine, senders, []);
  });
}

function tellElsewhere(world: World, machine: Machine, role: Following): void {
  const { stream } = role;
  const senders = stream?.sender.scheduler?.roles.current();
  if (stream === undefined || senders?.kind !== "scheduling") return;
  role.looked_ns = world.timeline.now_ns;
  const { number } = machine;
  const bits = elsewhereAt(world, machine);
  say(world, stream, "sender", () => {
    const now_ns = BigInt(Math.floor(localTime(world, senders.machine)));
    takeTold(senders.machine, senders, { number, bits, now_ns });
  });
}

/** The buckets that a node has connections of though its table says that they are others'. */
function elsewhereAt(world: World, { number, kernel }: Machine): Uint8Array {
  const connected = connectedAt(world, number);
  const buckets = Array.from({ length: BUCKETS }, (_, bucket) => bucket);
  return bitmapOf(
    BUCKETS,
    buckets.filter(
      (bucket) => hasBit(connected, bucket) && ownerOf(readWord(kernel.table, bucket)) !== number,
    ),
  );
}

const connectedAt = ({ clients }: World, number: number): Uint8Array =>
  bitmapOf(
    BUCKETS,
    clients.flatMap(({ connections }) =>
      connections
        .filter(({ at, life }) => at.number === number && at.life === life)
        .map(({ bucket }) => bucket),
    ),
  );

/** What the scheduler holds of all nodes; not once another one has taken over. */
function applyFlags({ kernel, number }: Machine, { follow, epoch }: Following): void {
  if (kernel.page.epoch !== epoch) return;
  const told = flagsOf(follow, "");
  if (follow.keeps !== undefined) {
    for (const of of kernel.rows.keys()) kernel.flags[of]! |= SCATTERED | ((told?.[of] ?? 0) & REACHABLE);
    return;
  }
  for (const of of kernel.rows.keys()) kernel.flags[of] = told?.[of] ?? 0;
  kernel.flags[number] = UP | REACHABLE;
}
