/** The table feed's connections: nothing is lost or overtaken, but all waits while the network is cut. */
import { isLinked, MS, type Machine, type World } from "./world.ts";

const AGAIN_NS = 10 * MS;

export interface Stream {
  readonly follower: Machine;
  readonly sender: Machine;
  readonly lives: readonly [follower: number, sender: number];
  readonly toFollower: (() => void)[];
  readonly toSender: (() => void)[];
  isOpen: boolean;
  onClose: () => void;
}

/** Connects two machines; undefined when that can't be now. */
export function openStream(world: World, follower: Machine, sender: Machine): Stream | undefined {
  if (!sender.isOn || !areConnected(world, follower, sender)) return undefined;
  return {
    follower,
    sender,
    lives: [follower.life, sender.life],
    toFollower: [],
    toSender: [],
    isOpen: true,
    onClose: () => undefined,
  };
}

const areConnected = (world: World, one: Machine, other: Machine): boolean =>
  isLinked(world, one, other, 0) && isLinked(world, other, one, 0);

export function closeStream(stream: Stream): void {
  if (!stream.isOpen) return;
  stream.isOpen = false;
  stream.onClose();
}

/** Has the other side do something with what it is told. */
export function say(world: World, stream: Stream, to: "follower" | "sender", deed: () => void): void {
  const queue = to === "follower" ? stream.toFollower : stream.toSender;
  queue.push(deed);
  if (queue.length === 1)
    world.timeline.in((0.1 + world.chance() * 0.3) * MS, () => deliver(world, stream, to));
}

function deliver(world: World, stream: Stream, to: "follower" | "sender"): void {
  const { follower, sender, lives } = stream;
  if (!stream.isOpen) return;
  // The other machine has forgotten this connection and says so, as soon as it hears of it.
  if (follower.life !== lives[0] || sender.life !== lives[1]) return closeStream(stream);
  const machine = to === "follower" ? follower : sender;
  const { timeline } = world;
  const isStill = Math.max(machine.kernelStall_ns, machine.schedulerStall_ns) > timeline.now_ns;
  if (isStill || !follower.isOn || !sender.isOn || !areConnected(world, follower, sender)) {
    timeline.in(AGAIN_NS, () => deliver(world, stream, to));
    return;
  }
  const queue = to === "follower" ? stream.toFollower : stream.toSender;
  queue.shift()?.();
  if (queue.length > 0) timeline.in((0.02 + world.chance() * 0.1) * MS, () => deliver(world, stream, to));
}
