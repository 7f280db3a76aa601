/**
 * How a node comes to the version that the others have: it compares regularly, fetches what is newer, and sees to the end of
 * votes that nobody is at work on. Pure but for what `NodeWorld` does.
 */
import { DlbaError } from "../../conf/errors.ts";
import { PUSH_COMPARE_NODES, PUSH_STAGE_MS } from "../../conf/limits.ts";
import type { Peer, VersionRecord } from "./messages.ts";
import { askStates, latestOf, type PushWorld, settle } from "./proposer.ts";
import { isInDoubt, type Voter } from "./voter.ts";

export interface NodeWorld extends PushWorld {
  readonly voter: () => Voter;
  /** Keeps a text if it is that of the version, and takes the version to be in force. Throws DlbaError when it can't. */
  readonly learn: (record: VersionRecord, text: string) => void;
}

/** Which of the others are asked in a round: all of a small array, of a large one some in turn. */
export function askedIn(round: number, peers: readonly Peer[], own: number): Peer[] {
  const others = peers.filter((peer) => peer.number !== own);
  if (others.length <= PUSH_COMPARE_NODES) return others;
  const first = (round * PUSH_COMPARE_NODES) % others.length;
  return [...others, ...others].slice(first, first + PUSH_COMPARE_NODES);
}

/** What came of a look at the others. */
export type Compared = "in step" | "caught up" | "settled" | "in doubt";

/** One look. Rejects with a DlbaError when a newer version can't be fetched or kept. */
export async function compare(
  world: NodeWorld,
  peers: readonly Peer[],
  own: Peer,
  round: number,
): Promise<Compared> {
  if (await catchUp(world, askedIn(round, peers, own.number))) return "caught up";
  const voter = world.voter();
  if (!isInDoubt(voter, world.now_ms())) return "in step";
  const { number } = voter.durable.accepted!.record;
  try {
    await settle(world, peers, number, own.name);
    return "settled";
  } catch (error) {
    // Somebody else is at it, or too few are there: the next look may find more.
    if (error instanceof DlbaError) return "in doubt";
    throw error;
  }
}

/** Takes the newest version that the asked have, if it is newer than this node's; whether it did. */
export async function catchUp(world: NodeWorld, asked: readonly Peer[]): Promise<boolean> {
  const states = await askStates(world, asked);
  const latest = latestOf(states);
  if (latest === undefined || latest.number <= world.voter().durable.current.number) return false;
  const holders = states.states.filter(({ state }) => state.current.number === latest.number);
  for (const { peer } of holders) {
    const answer = await world
      .ask(peer, { ask: "fetch", hash: latest.hash }, PUSH_STAGE_MS)
      .catch((error: unknown) => {
        if (error instanceof DlbaError) return undefined;
        throw error;
      });
    if (answer?.kind !== "text") continue;
    world.learn(latest, answer.text);
    return true;
  }
  return false;
}
