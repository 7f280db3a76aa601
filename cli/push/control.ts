/** Questions about versions, asked over the nodes' control TLS. */
import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { DlbaError } from "../../conf/errors.ts";
import type { ArrayKey } from "../../conf/keys.ts";
import { PUSH_LINE_BYTES } from "../../conf/limits.ts";
import { canonicalIp } from "../../conf/draft.ts";
import type { Config } from "../../conf/schema.ts";
import { controlClient } from "../../net/control-tls.ts";
import { readAnswer, type Answer, type Peer, type Request } from "./messages.ts";
import type { PushWorld } from "./proposer.ts";

/** The nodes of an array, as they are asked about versions. */
export const peersOf = ({ nodes, push }: Config): Peer[] =>
  nodes.map(({ number, name, address }) => ({
    number,
    name,
    address: canonicalIp(address) ?? address,
    port: push.port,
  }));

/** Asks one node. Rejects with DlbaError as `controlClient` does, or PUSH_NO_ANSWER for one that makes no sense. */
export async function askPeer(
  arrayKey: ArrayKey,
  { name, address, port }: Peer,
  request: Request,
  timeout_ms: number,
): Promise<Answer> {
  const line = JSON.stringify(request);
  if (line.length > PUSH_LINE_BYTES)
    throw new DlbaError("PUSH_TOO_LARGE", "the configuration is too large to be pushed");
  const answer = readAnswer(await controlClient({ address, port, arrayKey, line, timeout_ms }));
  if (answer === undefined) throw new DlbaError("PUSH_NO_ANSWER", `${name} gives no answer that makes sense`);
  return answer;
}

/** The real clock and network; `arrayKey` is read at each question, as it may be changed. */
export const realWorld = (arrayKey: () => ArrayKey): PushWorld => ({
  ask: async (peer, request, timeout_ms) => askPeer(arrayKey(), peer, request, timeout_ms),
  pause: async (pause_ms) => sleep(pause_ms),
  now_ms: () => performance.now(),
  newId: () => randomBytes(8).toString("hex"),
});
