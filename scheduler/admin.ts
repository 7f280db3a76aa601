/**
 * What an operator may tell the scheduler while it runs, one command per line: `drain`, `undrain` and `drain-status`
 * with a node's name or number, `handover` with one or without. Pure but for what is done, which is handed in.
 */
import { DlbaError } from "../conf/errors.ts";
import type { NodeStateName } from "../conf/messages.ts";
import { listOf, suggestion } from "../conf/suggest.ts";
import type { DrainStatus } from "../net/admin-socket.ts";
import type { Member } from "./nodes/members.ts";

export interface AdminDesk {
  readonly members: readonly Member[];
  /** Empty when this node schedules, else who does, for people. */
  readonly otherScheduler: () => string;
  readonly setDraining: (member: Member, isDraining: boolean) => void;
  readonly stateOf: (member: Member) => { readonly state: NodeStateName; readonly buckets: number };
  /** Has a node take over, the best one if none is named; resolves with who schedules then. */
  readonly handOver: (member: Member | undefined) => Promise<string>;
}

const COMMANDS = ["drain", "undrain", "drain-status", "handover"];

/**
 * Answers one command with what stands behind `ok`. Rejects with DlbaError: COMMAND_UNKNOWN, NODE_UNKNOWN, NOT_SCHEDULER,
 * LAST_NODE, HANDOVER_REFUSED, HANDOVER_TIMEOUT.
 */
export async function answerAdmin(desk: AdminDesk, line: string): Promise<string> {
  const [verb = "", name = "", ...rest] = line.trim().split(/\s+/);
  if (!COMMANDS.includes(verb) || rest.length > 0) throw unknownCommand(verb);
  const other = desk.otherScheduler();
  if (other !== "") throw new DlbaError("NOT_SCHEDULER", `${other}; run it there`);
  if (verb === "handover") return desk.handOver(name === "" ? undefined : memberNamed(desk.members, name));
  const member = memberNamed(desk.members, name);
  if (verb === "drain-status") return JSON.stringify(statusOf(desk, member));
  const isDraining = verb === "drain";
  if (isDraining) refuseLast(desk, member);
  desk.setDraining(member, isDraining);
  return isDraining ? `${member.config.name} drains` : `${member.config.name} takes traffic again`;
}

function unknownCommand(verb: string): DlbaError {
  const meant = suggestion(verb, COMMANDS);
  const hint = meant === undefined ? `expected ${listOf(COMMANDS, "or")}` : `did you mean '${meant}'?`;
  return new DlbaError("COMMAND_UNKNOWN", `unknown command '${verb.slice(0, 80)}'; ${hint}`);
}

function memberNamed(members: readonly Member[], name: string): Member {
  const found = members.find(({ config }) => config.name === name || String(config.number) === name);
  if (found !== undefined) return found;
  const names = members.map(({ config }) => config.name);
  throw new DlbaError(
    "NODE_UNKNOWN",
    `there is no node '${name.slice(0, 80)}'; the nodes are ${listOf(names, "and")}`,
  );
}

/** Somebody must take the buckets. */
function refuseLast(desk: AdminDesk, member: Member): void {
  const isLeft = desk.members.some((other) => other !== member && desk.stateOf(other).state === "up");
  if (isLeft) return;
  throw new DlbaError("LAST_NODE", `no other node is up: ${member.config.name} can't be drained`);
}

function statusOf(desk: AdminDesk, member: Member): DrainStatus {
  const { state, buckets } = desk.stateOf(member);
  const connections_left = member.connectionsLeft ?? null;
  return { node: member.config.name, state, connections_left, buckets_left: buckets };
}
