/** How keys and looks change what `dlba top` shows. Pure. */
import type { Look, TopState, View } from "./screen.ts";

export const FIRST: TopState = {
  view: "vservers",
  isByTraffic: false,
  look: undefined,
  before: undefined,
  trouble: "",
};

const VIEW_KEYS: Readonly<Record<string, View>> = { "1": "nodes", "2": "vservers", "3": "web" };

/** The next state, or "quit". Ctrl-C comes as a byte while the terminal is raw. */
export function onKey(state: TopState, key: string): TopState | "quit" {
  if (key === "q" || key === "Q" || key === "\u0003" || key === "\u0004") return "quit";
  if (key === "s") return { ...state, isByTraffic: !state.isByTraffic };
  const view = Object.hasOwn(VIEW_KEYS, key) ? VIEW_KEYS[key] : undefined;
  return view === undefined ? state : { ...state, view };
}

/** A look came, or why none did. What was seen last stays on the screen. */
export function onLook(state: TopState, look: Look | string): TopState {
  if (typeof look === "string") return { ...state, trouble: look };
  return { ...state, look, before: state.look, trouble: "" };
}
