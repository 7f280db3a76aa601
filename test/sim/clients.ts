/**
 * Clients on the segment: they find the VIP by ARP, open connections and send on them. What a connection lives by is the
 * path of its frames: the node that the ARP cache names, its table, second chance.
 */
import { checkBroken } from "./checks.ts";
import { BUCKETS, isScheduling, wayOf, type Came, type Frame, type Hop } from "./kernel.ts";
import {
  answersArp,
  CLIENTS,
  fail,
  isAwake,
  isLinked,
  machineOf,
  MS,
  note,
  type Client,
  type Connection,
  type Machine,
  type World,
} from "./world.ts";

const EVERY_NS = 15 * MS;
/** Nodes that a frame may come to: the scheduler, the owner, its second chance; then all that are asked, there and back. */
const MOST_HOPS = 4;
const MOST_CONNECTIONS = 12;

export function startClients(world: World): void {
  for (let index = 0; index < CLIENTS; index++) {
    const client: Client = { index, arp: undefined, connections: [] };
    world.clients.push(client);
    loop(world, client);
  }
}

function loop(world: World, client: Client): void {
  act(world, client);
  world.timeline.in(EVERY_NS * (0.8 + world.chance() * 0.4), () => loop(world, client));
}

function act(world: World, client: Client): void {
  if (client.arp === undefined) return ask(world, client);
  if (world.chance() < 0.3 && client.connections.length < MOST_CONNECTIONS) return open(world, client);
  if (client.connections.length > 0) {
    const at = Math.floor(world.chance() * client.connections.length);
    use(world, client, client.connections[at]!);
  }
}

const isCut = ({ clientCuts, plan }: World, client: Client, machine: Machine): boolean =>
  clientCuts[client.index * plan.nodes + machine.index] !== 0 || machine.noCarrier[0] !== 0;

function ask(world: World, client: Client): void {
  for (const machine of world.machines) {
    if (isCut(world, client, machine) || world.chance() < world.loss || !answersArp(world, machine)) continue;
    world.timeline.in(world.chance() * MS, () => (client.arp = machine));
  }
}

/** An announcement overwrites what there is in the cache; as most systems do, a client takes none for new. */
export function hearAnnouncement(world: World, client: Client, machine: Machine): void {
  if (isCut(world, client, machine) || world.chance() < world.loss || client.arp === undefined) return;
  world.timeline.in(world.chance() * 0.5 * MS, () => {
    if (client.arp !== machine) note(world, undefined, `client ${client.index} takes node ${machine.number}`);
    client.arp = machine;
  });
}

function open(world: World, client: Client): void {
  const bucket = Math.floor(world.chance() * BUCKETS);
  const first = client.arp!;
  const isOrderly = isScheduling(first.kernel) && answersArp(world, first) && isLatest(world, first);
  const at = walk(world, client, { bucket, isSyn: true, hasConnection: () => false });
  if (at === undefined) return;
  // A machine that was away for less than it takes to notice has sockets before it is one of the array again.
  const isMember = at.noProgram === 0 && (isScheduling(at.kernel) || at.kernel.control.hasTable);
  const connection = { bucket, at, life: at.life, opened_ns: world.timeline.now_ns };
  client.connections.push({ ...connection, isOrderly: isOrderly && isMember });
  world.counts.connections++;
}

const isLatest = ({ machines }: World, machine: Machine): boolean =>
  machines.every(({ kernel }) => kernel.page.epoch <= machine.kernel.page.epoch);

function use(world: World, client: Client, connection: Connection): void {
  const { at, life, bucket } = connection;
  const end = (): void => {
    client.connections = client.connections.filter((one) => one !== connection);
  };
  if (at.life !== life || !at.isOn) return end();
  const hasConnection = (number: number): boolean => number === at.number;
  const arrived = walk(world, client, { bucket, isSyn: false, hasConnection });
  if (arrived === undefined || arrived === at) return;
  end();
  checkBroken(world, client, connection, arrived);
}

/** Where a client's frame arrives; undefined: it is lost on its way, and will be sent again. */
function walk(world: World, client: Client, frame: Frame): Machine | undefined {
  let here = client.arp!;
  let came: Came = { from: undefined, manner: "straight" };
  if (isCut(world, client, here)) return undefined;
  for (let hops = 0; hops < MOST_HOPS + 2 * world.machines.length; hops++) {
    if (!isAwake(world, here)) return undefined;
    // Without its program a node's stack knows no ethertype of ours.
    if (here.noProgram > 0 && came.manner !== "straight") return undefined;
    const hop: Hop =
      here.noProgram > 0 ? { to: here.number, manner: "straight" } : wayOf(here.kernel, frame, came);
    if (hop.to === undefined) return undefined;
    if (hop.to === here.number) return here;
    const next = machineOf(world, hop.to);
    if (!isLinked(world, here, next, 0)) return undefined;
    came = { from: here.number, manner: hop.manner };
    here = next;
  }
  return fail(world, "loop", `a frame of bucket ${frame.bucket} finds no end`);
}
