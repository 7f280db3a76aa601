/** The failover process of a machine: the production's elector, and an edge like the production's around it. */
import { FAILOVER_TICK_MS } from "../../conf/limits.ts";
import type { Elector, ElectorActions, ElectorInput, VipClaim } from "../../failover/elector.ts";
import { HEARTBEAT_LEASED, HEARTBEAT_OFFER } from "../../net/heartbeat.ts";
import { SENT_KEPT } from "../../net/heartbeat-memory.ts";
import { checkClaim, checkRenewal } from "./checks.ts";
import { hearAnnouncement } from "./clients.ts";
import { answer, hear, type Row } from "./kernel.ts";
import { isLinked, localTime, machineOf, MS, note, send, type Machine, type World } from "./world.ts";

const ECHO_EVERY_NS = 10 * MS;
const SENDER_TICK_NS = 10 * MS;
const SENDS_NS = 20_000;

export interface FailoverProcess {
  elector: Elector;
  readonly input: { -readonly [Key in keyof ElectorInput]: ElectorInput[Key] };
  /** The sending thread. */
  news: ElectorActions["news"];
  offerTo: number | undefined;
  paces_ms: ReadonlyMap<number, number>;
  readonly asked_ns: Map<number, number>;
  readonly echoes: Map<number, number>;
  readonly echoed_ns: Map<number, number>;
  vipClaims: VipClaim[];
  isStopping: boolean;
  isSoon: boolean;
}

/** Starts the process of a machine that is on. */
export function startFailover(world: World, machine: Machine): void {
  const { plan, rules } = world;
  const { kernel, number } = machine;
  const peers = [...kernel.rows].map(([of, rows]) => {
    for (const row of rows) row.sent.count = 0;
    return { number: of, rows };
  });
  const echoes = new Map<number, number>();
  const process: FailoverProcess = {
    elector: rules.createElector({
      number,
      nodes: plan.priorities.map((priority, index) => ({ number: index + 1, priority })),
      heartbeat_ms: 10,
      dead_after_ms: 50,
      preempt: plan.preempt,
      preempt_delay_s: 0.3,
      floorCounter: machine.reservedCounter,
    }),
    input: {
      now_ns: 0,
      page: kernel.page,
      peers,
      own: {
        table_version: 0,
        hasCarrier: true,
        hasProgram: true,
        schedulerTurned_ns: 0,
        handOverTo: undefined,
        isMerging: false,
      },
      echoes,
      vipClaims: [],
      reservedCounter: machine.reservedCounter,
      isStopping: false,
    },
    news: { epoch: 0, isLeased: false },
    offerTo: undefined,
    paces_ms: new Map(),
    asked_ns: new Map(),
    echoes,
    echoed_ns: new Map(),
    vipClaims: [],
    isStopping: false,
    isSoon: false,
  };
  machine.failover = process;
  loop(world, machine, process);
  sendDue(world, machine, process);
}

/** Whether a loop goes on now; if it stands still, `again` is called when that is over. */
function isRunning({ timeline }: World, stall_ns: number, again: () => void): boolean {
  if (stall_ns <= timeline.now_ns) return true;
  timeline.at(stall_ns + 0.1 * MS, again);
  return false;
}

function loop(world: World, machine: Machine, process: FailoverProcess): void {
  const again = (): void => loop(world, machine, process);
  if (machine.failover !== process || !isRunning(world, machine.failoverStall_ns, again)) return;
  turn(world, machine, process);
  const after_ns = (process.isSoon ? 1 : FAILOVER_TICK_MS) * MS;
  world.timeline.in(after_ns + world.chance() * 0.3 * MS, again);
}

function turn(world: World, machine: Machine, process: FailoverProcess): void {
  const { timeline, counts, rules } = world;
  fillInput(world, machine, process);
  machine.turned_ns = timeline.now_ns;
  counts.ticks++;
  const { state, actions } = rules.tick(process.elector, process.input);
  process.elector = state;
  process.isSoon = actions.soon;
  if (machine.midTickStall_ns === 0) return carryOut(world, machine, process, actions);
  const stall_ns = machine.midTickStall_ns;
  machine.midTickStall_ns = 0;
  machine.failoverStall_ns = Math.max(machine.failoverStall_ns, timeline.now_ns + stall_ns);
  timeline.in(stall_ns, () => {
    if (machine.failover === process) carryOut(world, machine, process, actions);
  });
}

function fillInput(world: World, machine: Machine, process: FailoverProcess): void {
  const { control, page } = machine.kernel;
  const { input } = process;
  input.now_ns = localTime(world, machine);
  input.page = { ...page };
  input.own = {
    table_version: control.table_version,
    hasCarrier: machine.noCarrier.every((count) => count === 0),
    hasProgram: machine.noProgram === 0,
    schedulerTurned_ns: control.turned_ns,
    handOverTo: control.handOverTo,
    isMerging: control.isMerging,
  };
  input.vipClaims = process.vipClaims;
  if (process.vipClaims.length > 0) process.vipClaims = [];
  input.isStopping = process.isStopping;
  input.reservedCounter = machine.reservedCounter;
}

function carryOut(world: World, machine: Machine, process: FailoverProcess, actions: ElectorActions): void {
  const { kernel } = machine;
  const { page } = kernel;
  const { raise } = actions;
  if (raise !== undefined && page.epoch === raise.from) {
    page.former = raise.former;
    page.epoch = raise.to;
  } else if (raise !== undefined && page.epoch !== raise.to)
    return note(world, machine, "its kernel was faster");
  tell(world, machine, actions);
  if (actions.events.some(({ kind }) => kind === "claims")) checkClaim(world, machine, actions);
  if (actions.until_ns > 0) checkRenewal(world, machine, actions);
  if (actions.markDead !== undefined) kernel.flags[actions.markDead] = 0;
  page.until_ns = actions.until_ns;
  page.stands = actions.stands;
  page.side = actions.side;
  if (actions.clearsOffer) page.offered = 0;
  process.news = actions.news;
  process.offerTo = actions.offerTo;
  process.paces_ms = actions.paces_ms;
  if (actions.askNow) world.timeline.in(0.15 * MS, () => askAll(world, machine, process));
  if (actions.announce) announce(world, machine);
  sendEchoes(world, machine, process, actions.wantsEcho);
  reserve(world, machine, actions.reserveCounter);
  if (actions.canStop && process.isStopping) {
    page.until_ns = 0;
    machine.failover = undefined;
    note(world, machine, "its failover process has stopped in order");
  }
}

function tell(world: World, machine: Machine, { events }: ElectorActions): void {
  for (const { kind, epoch, peer, reason, mac } of events) {
    if (kind === "claims") world.counts.claims++;
    if (world.lines === undefined) continue;
    const about = [peer === undefined ? "" : `node ${peer}`, reason ?? "", mac ?? ""].filter(
      (text) => text !== "",
    );
    const inEpoch = `${Math.floor(epoch / 256)}.${epoch % 256}`;
    note(world, machine, `${kind} (epoch ${inEpoch}) ${about.join(", ")}`);
  }
}

function reserve(world: World, machine: Machine, counter: number | undefined): void {
  if (counter === undefined || counter <= machine.reservedCounter) return;
  const { life } = machine;
  world.timeline.in((2 + world.chance() * 30) * MS, () => {
    if (machine.life === life) machine.reservedCounter = Math.max(machine.reservedCounter, counter);
  });
}

function announce(world: World, machine: Machine): void {
  for (const client of world.clients) hearAnnouncement(world, client, machine);
  for (const to of world.machines) {
    if (to === machine) continue;
    send(world, { from: machine, to, slot: 0 }, () =>
      to.failover?.vipClaims.push({ kind: "member", number: machine.number }),
    );
  }
}

function sendEchoes(
  world: World,
  machine: Machine,
  process: FailoverProcess,
  wanted: readonly number[],
): void {
  for (const number of wanted) {
    const now_ns = localTime(world, machine);
    if (now_ns - (process.echoed_ns.get(number) ?? -Infinity) < ECHO_EVERY_NS) continue;
    process.echoed_ns.set(number, now_ns);
    const to = machineOf(world, number);
    for (let slot = 0; slot < world.plan.slots; slot++) {
      send(world, { from: machine, to, slot }, () =>
        send(world, { from: to, to: machine, slot }, () =>
          process.echoes.set(number, Math.max(now_ns, process.echoes.get(number) ?? 0)),
        ),
      );
    }
  }
}

function sendDue(world: World, machine: Machine, process: FailoverProcess): void {
  const again = (): void => sendDue(world, machine, process);
  if (machine.failover !== process || !isRunning(world, machine.senderStall_ns, again)) return;
  const now_ns = localTime(world, machine);
  for (const [peer, pace_ms] of process.paces_ms) {
    const last_ns = process.asked_ns.get(peer) ?? -Infinity;
    if (now_ns - last_ns >= pace_ms * MS - SENDER_TICK_NS / 2) ask(world, machine, process, peer);
  }
  world.timeline.in(SENDER_TICK_NS, again);
}

function askAll(world: World, machine: Machine, process: FailoverProcess): void {
  if (machine.failover !== process || machine.senderStall_ns > world.timeline.now_ns) return;
  for (const peer of process.paces_ms.keys()) ask(world, machine, process, peer);
}

function ask(world: World, machine: Machine, process: FailoverProcess, peer: number): void {
  const to = machineOf(world, peer);
  const sent_ns = localTime(world, machine);
  process.asked_ns.set(peer, sent_ns);
  const { epoch, isLeased } = process.news;
  const offer = process.offerTo === peer ? HEARTBEAT_OFFER : 0;
  const flags = offer | (isLeased ? HEARTBEAT_LEASED : 0);
  const { kernel } = machine;
  for (const [slot, row] of kernel.rows.get(peer)!.entries()) {
    if (!row.knowsMac || machine.noCarrier[slot] !== 0) continue;
    noteSent(row, sent_ns);
    if (!isLinked(world, machine, to, slot)) continue;
    send(world, { from: machine, to, slot }, () => {
      if (to.noProgram > 0) return;
      const told = answer(
        world.rules.kernel,
        to.kernel,
        { asker: machine.number, epoch, flags, sent_ns },
        {
          slot,
          now_ns: localTime(world, to),
        },
      );
      send(world, { from: to, to: machine, slot }, () => hear(row, told, localTime(world, machine)));
    });
  }
}

function noteSent({ sent }: Row, sent_ns: number): void {
  if (sent.count === SENT_KEPT) {
    sent.sent_ns.copyWithin(0, 1);
    sent.handed_ns.copyWithin(0, 1);
    sent.count--;
  }
  sent.sent_ns[sent.count] = sent_ns;
  sent.handed_ns[sent.count++] = sent_ns + SENDS_NS;
}
