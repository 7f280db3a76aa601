/** The dashboard's page: what comes from the node is shown; keys and buttons. */
import type { ArrayPicture, MapChanges } from "../messages.ts";
import { createBucketMap } from "./bucket-map.ts";
import { createChart } from "./charts.ts";
import { colourAt, css, type Rgb } from "./colours.ts";
import { byId, keyed, make, setText } from "./elements.ts";
import type { Frame } from "./frames.ts";
import { askToken, forgetToken, knownToken } from "./sign-in.ts";
import { follow, type LinkState } from "./stream.ts";
import { eventList, nodeCards, vserverTable, webServerTable } from "./tables.ts";
import { applyTheme, isDark, nextTheme } from "./theme.ts";

const MOVES_MS = 10_000;

const whole = new Intl.NumberFormat("en");
const colours = new Map<number, Rgb>();
const names = new Map<number, string>();
const colourOf = (number: number): Rgb => colours.get(number) ?? [128, 128, 128];

const canvas = byId("cells", HTMLCanvasElement);
const map = createBucketMap(canvas);
const charts = {
  flows: createChart(byId("chart-flows", HTMLDivElement), "/s"),
  requests: createChart(byId("chart-requests", HTMLDivElement), "/s"),
  latency: createChart(byId("chart-latency", HTMLDivElement), " ms"),
};
const showNodes = nodeCards(byId("node-cards", HTMLUListElement), colourOf);
const showVservers = vserverTable(byId("vserver-table", HTMLTableElement));
const showWebServers = webServerTable(byId("web-server-table", HTMLTableElement));
const box = byId("warnings-alone", HTMLInputElement);
const events = eventList(byId("event-list", HTMLOListElement));
const moves: { readonly at_ms: number; readonly cells: number }[] = [];

let isPaused = false;
let emphasised: number | undefined;
let isEventListFresh = true;

interface Share {
  readonly number: number;
  readonly cells: number;
}
const showShares = keyed(
  byId("shares", HTMLUListElement),
  ({ number }: Share) => String(number),
  ({ number }) => {
    const element = make("li");
    const button = make("button");
    const swatch = make("span", "swatch");
    swatch.style.setProperty("--own", css(colourOf(number)));
    const name = make("span", "", names.get(number) ?? "nobody yet");
    const count = make("span");
    button.type = "button";
    button.append(swatch, name, count);
    button.addEventListener("click", () => {
      emphasised = emphasised === number ? undefined : number;
      map.emphasise(emphasised);
      showMap();
    });
    element.append(button);
    return { element, button, count };
  },
  ({ button, count }, { number, cells }) => {
    setText(count, `${whole.format(cells)} (${((cells * 100) / Math.max(1, total())).toFixed(1)} %)`);
    button.setAttribute("aria-pressed", String(emphasised === number));
  },
);

const total = (): number => map.counts().reduce((sum, count) => sum + count, 0);

function showMap(): void {
  const counts = map.counts();
  const shares = [...counts.entries()]
    .filter(([number, cells]) => cells > 0 || names.has(number))
    .map(([number, cells]) => ({ number, cells }));
  showShares(shares);
  const now_ms = performance.now();
  while (moves.length > 0 && now_ms - moves[0]!.at_ms > MOVES_MS) moves.shift();
  const moved = moves.reduce((sum, { cells }) => sum + cells, 0);
  setText(byId("moves", HTMLParagraphElement), `${whole.format(moved)} cells moved in the last ten seconds.`);
  const unit = map.stretch() === 1 ? "a cell for each bucket" : `a cell for ${map.stretch()} buckets`;
  setText(byId("map-about", HTMLSpanElement), `${whole.format(total() * map.stretch())}, ${unit}`);
}

function show(picture: ArrayPicture): void {
  picture.nodes.forEach(({ number, name }, place) => {
    if (!colours.has(number)) colours.set(number, colourAt(place));
    names.set(number, name);
  });
  map.setColours(new Map(colours));
  const scheduler = names.get(picture.scheduler ?? -1);
  const silent = picture.nodes.filter(({ silence }) => silence !== "").length;
  const about = [
    scheduler === undefined ? "nobody schedules" : `${scheduler} schedules`,
    picture.epoch === "" ? "" : `epoch ${picture.epoch}`,
    `${picture.nodes.length - silent} of ${picture.nodes.length} nodes tell`,
    `seen from ${picture.shown_by}`,
  ];
  setText(byId("array-name", HTMLSpanElement), picture.array);
  setText(byId("scheduler", HTMLParagraphElement), about.filter((text) => text !== "").join(" · "));
  document.title = `DLBA ${picture.array}`;
  showNodes(picture.nodes);
  showVservers(picture.vservers);
  showWebServers(picture.web_servers);
  const left = picture.left_out === 0 ? "" : `${picture.left_out} more are left out; dlba show web has all`;
  setText(byId("left-out", HTMLSpanElement), left);
  const lines = picture.nodes.map(({ number, name }) => ({ name, colour: colourOf(number) }));
  const at_s = picture.at_ms / 1000;
  for (const chart of Object.values(charts)) chart.setLines(lines);
  charts.flows.add(
    at_s,
    picture.nodes.map(({ rates }) => rates?.accepted ?? null),
  );
  charts.requests.add(
    at_s,
    picture.nodes.map(({ rates }) => rates?.requests ?? null),
  );
  charts.latency.add(
    at_s,
    picture.nodes.map(({ latency_ms }) => latency_ms),
  );
  showMap();
}

/** The node is our own, and what it sends has its sender's type. */
const take: Readonly<Record<string, (json: string) => void>> = {
  array: (json) => {
    // The map moves on while it is not looked at, else it would be wrong afterwards.
    if (!isPaused) show(JSON.parse(json));
  },
  map: (json) => {
    map.setWhole(JSON.parse(json));
    showMap();
  },
  moved: (json) => {
    const changes: MapChanges = JSON.parse(json);
    map.move(changes);
    moves.push({ at_ms: performance.now(), cells: changes.length / 2 });
    showMap();
  },
  events: (json) => {
    // The first ones of a connection are all that there are.
    if (isEventListFresh) events.clear();
    isEventListFresh = false;
    events.add(JSON.parse(json));
  },
};

const takeFrame = ({ event, data }: Frame): void => take[event]?.(data);

let leave: (() => void) | undefined;

function connect(token: string): void {
  byId("board", HTMLElement).hidden = false;
  leave = follow(token, {
    onFrame: takeFrame,
    onState: (state, text) => {
      if (state === "waiting") isEventListFresh = true;
      showLink(state, text);
    },
    onRefused: () => signOut("This is not the right token."),
  });
}

function showLink(state: LinkState, text: string): void {
  const link = byId("link", HTMLParagraphElement);
  link.dataset["state"] = isPaused && state === "live" ? "waiting" : state;
  setText(link, isPaused && state === "live" ? "paused" : text);
}

function signOut(reason: string): void {
  leave?.();
  forgetToken();
  byId("board", HTMLElement).hidden = true;
  setText(byId("scheduler", HTMLParagraphElement), "");
  showLink("lost", "signed out");
  askToken(reason, connect);
}

function pause(): void {
  isPaused = !isPaused;
  byId("pause", HTMLButtonElement).setAttribute("aria-pressed", String(isPaused));
  showLink("live", "live");
}

function changeTheme(): void {
  byId("theme", HTMLButtonElement).title = `Light or dark (t): ${nextTheme()}`;
  repaint();
}

function repaint(): void {
  map.setDark(isDark());
  for (const chart of Object.values(charts)) chart.redraw();
}

function showWarningsAlone(isAlone: boolean): void {
  byId("event-list", HTMLOListElement).classList.toggle("warnings-alone", isAlone);
}

const SECTIONS = ["nodes", "map", "traffic", "vservers", "web-servers", "events"];

function onKey(event: KeyboardEvent): void {
  const { key, target } = event;
  const isTyping = target instanceof HTMLInputElement && target.type !== "checkbox";
  if (isTyping || event.ctrlKey || event.metaKey || event.altKey) return;
  const section = document.getElementById(SECTIONS[Number(key) - 1] ?? "");
  if (section !== null) {
    section.scrollIntoView();
    section.focus({ preventScroll: true });
  } else if (key === "p") pause();
  else if (key === "t") changeTheme();
  else if (key === "?") showKeys();
  else if (key === "w") {
    box.checked = !box.checked;
    showWarningsAlone(box.checked);
  } else return;
  event.preventDefault();
}

function showCell({ offsetX, offsetY }: PointerEvent): void {
  const cell = map.cellAt(offsetX / canvas.clientWidth, offsetY / canvas.clientHeight);
  if (cell === undefined) return;
  const owner =
    cell.number === undefined ? "nobody's yet" : (names.get(cell.number) ?? `node ${cell.number}`);
  setText(byId("cell-about", HTMLParagraphElement), `Bucket ${whole.format(cell.bucket)}: ${owner}`);
}

const onClick = (id: string, act: () => void): void =>
  byId(id, HTMLButtonElement).addEventListener("click", act);
const showKeys = (): void => byId("keys", HTMLDialogElement).showModal();

applyTheme();
map.setDark(isDark());
onClick("pause", pause);
onClick("theme", changeTheme);
onClick("keys-open", showKeys);
onClick("sign-out", () => signOut(""));
box.addEventListener("change", () => showWarningsAlone(box.checked));
canvas.addEventListener("pointermove", showCell);
document.addEventListener("keydown", onKey);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);
const token = knownToken();
if (token === undefined) askToken("", connect);
else connect(token);
