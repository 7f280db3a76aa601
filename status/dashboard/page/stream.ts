/**
 * The connection to the node. It is made with fetch, not with EventSource, which could say the token in the address alone; it is made
 * again, with growing pauses, when it ends.
 */
import { frameReader, type Frame } from "./frames.ts";

export type LinkState = "waiting" | "live" | "lost";

export interface StreamEvents {
  readonly onFrame: (frame: Frame) => void;
  readonly onState: (state: LinkState, text: string) => void;
  /** The token is not the right one. */
  readonly onRefused: () => void;
}

const LEAST_PAUSE_MS = 500;
const MOST_PAUSE_MS = 10_000;
/** A node that says nothing for this long is gone, whatever the system says of the connection. */
const SILENCE_MS = 15_000;

/** Follows until what is returned is called, or the token is refused. */
export function follow(token: string, events: StreamEvents): () => void {
  const leaving = new AbortController();
  void (async () => {
    let pause_ms = LEAST_PAUSE_MS;
    while (!leaving.signal.aborted) {
      events.onState("waiting", "connecting");
      const heard = await once(token, events, leaving.signal);
      if (heard === "refused") return events.onRefused();
      if (leaving.signal.aborted) return;
      events.onState("lost", heard.why);
      pause_ms = heard.isAny ? LEAST_PAUSE_MS : Math.min(pause_ms * 2, MOST_PAUSE_MS);
      await new Promise((resolve) => setTimeout(resolve, pause_ms));
    }
  })();
  return () => leaving.abort();
}

interface Heard {
  readonly isAny: boolean;
  readonly why: string;
}

async function once(token: string, events: StreamEvents, leaving: AbortSignal): Promise<Heard | "refused"> {
  const silence = new AbortController();
  const waitAnew = (timer?: number): number => {
    clearTimeout(timer);
    return setTimeout(() => silence.abort(), SILENCE_MS);
  };
  let timer = waitAnew();
  let isAny = false;
  try {
    const response = await fetch("stream", {
      headers: { Authorization: `Bearer ${token}` },
      signal: AbortSignal.any([leaving, silence.signal]),
      cache: "no-store",
    });
    if (response.status === 401) return "refused";
    if (!response.ok || response.body === null) return { isAny, why: (await response.text()).trim() };
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    const frames = frameReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return { isAny, why: "the node has ended the connection" };
      timer = waitAnew(timer);
      for (const frame of frames(value)) events.onFrame(frame);
      if (!isAny) events.onState("live", "live");
      isAny = true;
    }
  } catch {
    return { isAny, why: "the node can't be reached" };
  } finally {
    clearTimeout(timer);
  }
}
