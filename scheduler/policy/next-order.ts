/**
 * In which order nodes are dealt to buckets that nobody has had yet. Each block of the order holds every node in
 * proportion to its weight (smooth weighted round robin, which carries fractions on to the next block), so that any
 * stretch of the table does; inside a block the order is shuffled under a seed, so that whoever does not know it can't
 * tell which buckets are a node's. Nodes with the same seed deal the same.
 */
import { randomWords } from "../../conf/random.ts";
export interface Share {
  readonly number: number;
  /** Above 0. */
  readonly weight: number;
}
export interface Dealer {
  readonly shares: readonly Share[];
  readonly total: number;
  readonly weights: Float64Array;
  /** What each has been dealt too little. */
  readonly credits: Float64Array;
  readonly random: () => number;
  readonly block: Uint8Array;
  at: number;
}

const BLOCK = 64;

/** A dealer at the start of its order. There has to be a share. */
export function createDealer(shares: readonly Share[], seed: number): Dealer {
  return {
    shares,
    total: shares.reduce((sum, { weight }) => sum + weight, 0),
    weights: Float64Array.from(shares, ({ weight }) => weight),
    credits: new Float64Array(shares.length),
    random: randomWords(seed),
    block: new Uint8Array(BLOCK),
    at: BLOCK,
  };
}

/** The next node number of the order. */
export function deal(dealer: Dealer): number {
  if (dealer.at === BLOCK) fillBlock(dealer);
  return dealer.block[dealer.at++]!;
}

function fillBlock(dealer: Dealer): void {
  const { block, random } = dealer;
  for (let i = 0; i < BLOCK; i++) block[i] = nextInTurn(dealer);
  for (let i = BLOCK - 1; i > 0; i--) {
    const other = random() % (i + 1);
    [block[i], block[other]] = [block[other]!, block[i]!];
  }
  dealer.at = 0;
}

function nextInTurn({ shares, total, weights, credits }: Dealer): number {
  let best = 0;
  for (let i = 0; i < credits.length; i++) {
    credits[i]! += weights[i]!;
    if (credits[i]! > credits[best]!) best = i;
  }
  credits[best]! -= total;
  return shares[best]!.number;
}
