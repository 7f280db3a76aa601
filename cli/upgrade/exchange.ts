/** A conversation over an IPC channel, in which each side waits for the one thing that has to come next. */
import { DlbaError } from "../../conf/errors.ts";

export interface Exchange<T extends { readonly kind: string }> {
  /** Takes what came. */
  readonly hear: (message: T) => void;
  /** The other side is gone, or what it said makes no sense: whatever is waited for won't come. */
  readonly fail: (reason: string) => void;
  /** Resolves with the next message, which has to be of this kind. Rejects with DlbaError UPGRADE_FAILED. */
  readonly next: <K extends T["kind"]>(
    kind: K,
    within_ms: number,
  ) => Promise<Extract<T, { readonly kind: K }>>;
}

export function exchange<T extends { readonly kind: string }>(peer: string): Exchange<T> {
  const heard: T[] = [];
  let failure: string | undefined;
  let wake: (() => void) | undefined;
  const isKind = <K extends T["kind"]>(message: T, kind: K): message is Extract<T, { readonly kind: K }> =>
    message.kind === kind;
  return {
    hear: (message) => {
      heard.push(message);
      wake?.();
    },
    fail: (reason) => {
      failure ??= reason;
      wake?.();
    },
    next: async (kind, within_ms) => {
      if (heard.length === 0 && failure === undefined)
        await waitFor(within_ms, (resolve) => (wake = resolve));
      wake = undefined;
      const message = heard.shift();
      if (message !== undefined && isKind(message, kind)) return message;
      const why =
        failure ??
        (message === undefined ? `does not answer within ${within_ms} ms` : "says what it must not");
      throw new DlbaError("UPGRADE_FAILED", `${peer} ${why}`);
    },
  };
}

async function waitFor(most_ms: number, start: (resolve: () => void) => void): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, most_ms);
  start(resolve);
  await promise;
  clearTimeout(timer);
}
