/** Nodes, vservers, web servers and events as they are shown. */
import type { ArrayEvent, NodePicture, Traffic, VserverPicture, WebServerPicture } from "../messages.ts";
import { css, type Rgb } from "./colours.ts";
import { keyed, make, setLevel, setText, type Level } from "./elements.ts";

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const fine = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const NONE = "–";

const number = (value: number | null | undefined): string => (value == null ? NONE : fine.format(value));
const bytes = (value: number | null | undefined): string =>
  value == null ? NONE : `${compact.format(value)}B/s`;
const ms = (value: number | null): string => (value === null ? NONE : `${fine.format(value)} ms`);

const NODE_LEVELS: Readonly<Record<string, Level>> = { up: "good", failed: "error", down: "error" };
const WEB_LEVELS: Readonly<Record<string, Level>> = { up: "good", drain: "warning", maint: "warning" };
const EVENT_LEVELS: Readonly<Record<string, Level>> = { error: "error", warning: "warning" };

type Cells = Readonly<Record<string, string>>;

function nodeFacts(node: NodePicture): Cells {
  if (node.silence !== "") return { Address: node.address };
  const { rates } = node;
  return {
    Buckets: node.buckets === null ? NONE : whole.format(node.buckets),
    Connections: node.open === null ? NONE : whole.format(node.open),
    "New/s": number(rates?.accepted),
    "Requests/s": number(rates?.requests),
    "5xx/s": number(rates?.errors),
    Response: ms(node.latency_ms),
    Sent: bytes(rates?.bytes_out),
    Workers: `${node.workers_accepting ?? 0} of ${node.workers ?? 0} accept`,
    Memory: node.memory_bytes === null ? NONE : `${compact.format(node.memory_bytes)}B`,
    Address: node.address,
  };
}

/** Cards of the nodes. */
export function nodeCards(
  list: HTMLElement,
  colourOf: (number: number) => Rgb,
): (nodes: readonly NodePicture[]) => void {
  return keyed(
    list,
    (node: NodePicture) => String(node.number),
    (node) => {
      const element = make("li", "node");
      element.style.setProperty("--own", css(colourOf(node.number)));
      const heading = make("h3");
      const crown = make("span", "crown");
      const name = make("span", "", node.name);
      const state = make("span", "state");
      heading.append(crown, name, state);
      const reason = make("p", "reason");
      const facts = make("dl");
      element.append(heading, reason, facts);
      return { element, crown, state, reason, facts };
    },
    ({ crown, state, reason, facts }, node) => {
      const isCrowned = crown.textContent !== "";
      if (node.is_scheduler && !isCrowned) {
        crown.textContent = "♛";
        crown.setAttribute("role", "img");
        crown.setAttribute("aria-label", "the scheduler");
        crown.title = "the scheduler";
      } else if (!node.is_scheduler && isCrowned) {
        crown.textContent = "";
        crown.removeAttribute("role");
        crown.removeAttribute("aria-label");
      }
      setText(state, node.state);
      setLevel(state, NODE_LEVELS[node.state] ?? "warning");
      setText(
        reason,
        [node.reason, node.silence === "" ? "" : `It does not tell of itself: ${node.silence}`]
          .filter((text) => text !== "")
          .join(". "),
      );
      setFacts(facts, nodeFacts(node));
    },
  );
}

function setFacts(list: HTMLElement, facts: Cells): void {
  const names = Object.keys(facts);
  const shown = [...list.querySelectorAll("dt")].map(({ textContent }) => textContent);
  if (names.join() !== shown.join()) {
    list.replaceChildren(...names.flatMap((name) => [make("dt", "", name), make("dd")]));
  }
  [...list.querySelectorAll("dd")].forEach((cell, place) => setText(cell, facts[names[place] ?? ""] ?? ""));
}

interface Column<Item> {
  readonly title: string;
  readonly of: (item: Item) => string;
  readonly isNumber?: boolean;
  readonly level?: (item: Item) => Level;
}

function liveTable<Item>(
  table: HTMLElement,
  columns: readonly Column<Item>[],
  keyOf: (item: Item) => string,
): (items: readonly Item[]) => void {
  const head = make("thead");
  const titles = make("tr");
  for (const { title, isNumber } of columns) {
    const cell = make("th", isNumber === true ? "number" : "", title);
    cell.scope = "col";
    titles.append(cell);
  }
  head.append(titles);
  const body = make("tbody");
  table.replaceChildren(head, body);
  return keyed(
    body,
    keyOf,
    () => {
      const element = make("tr");
      const cells = columns.map(({ title, isNumber }) => {
        const cell = make("td", isNumber === true ? "number" : "");
        cell.dataset["label"] = title;
        return cell;
      });
      element.append(...cells);
      return { element, cells };
    },
    ({ cells }, item) =>
      columns.forEach(({ of, level }, place) => {
        const cell = cells[place];
        if (cell === undefined) return;
        setText(cell, of(item));
        if (level !== undefined) setLevel(cell, level(item));
      }),
  );
}

const flows = (traffic: Traffic | null, key: keyof Traffic): string =>
  traffic === null ? NONE : compact.format(traffic[key]);

/** The vservers, with what the kernel and the workers count. */
export const vserverTable = (table: HTMLElement): ((items: readonly VserverPicture[]) => void) =>
  liveTable<VserverPicture>(
    table,
    [
      { title: "Vserver", of: ({ name }) => name },
      { title: "Protocol", of: ({ protocol }) => protocol },
      { title: "Addresses", of: ({ vips, ports }) => `${vips.join(", ")} : ${ports.join(", ")}` },
      { title: "Goes to", of: ({ target }) => target },
      { title: "Connections", of: ({ open }) => whole.format(open), isNumber: true },
      { title: "Flows/s", of: ({ flows: traffic }) => flows(traffic, "connections"), isNumber: true },
      { title: "Packets/s", of: ({ flows: traffic }) => flows(traffic, "packets"), isNumber: true },
      { title: "Requests/s", of: ({ rates }) => number(rates?.requests), isNumber: true },
      {
        title: "5xx/s",
        of: ({ rates }) => number(rates?.errors),
        isNumber: true,
        level: ({ rates }) => ((rates?.errors ?? 0) > 0 ? "error" : ""),
      },
      { title: "Sent", of: ({ rates }) => bytes(rates?.bytes_out), isNumber: true },
    ],
    ({ name }) => name,
  );

function webState({ state, reason, up_for, seen_by }: WebServerPicture): string {
  const partly = up_for > 0 && up_for < seen_by ? ` on ${seen_by - up_for} of ${seen_by} nodes` : "";
  return `${state}${partly}${reason === "" ? "" : `: ${reason}`}`;
}

/** The web servers, as all nodes see them. */
export const webServerTable = (table: HTMLElement): ((items: readonly WebServerPicture[]) => void) =>
  liveTable<WebServerPicture>(
    table,
    [
      { title: "Web server", of: ({ pool, id }) => `${pool}/${id}` },
      {
        title: "Address",
        of: ({ address, port }) => (address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`),
      },
      {
        title: "State",
        of: webState,
        level: ({ state, up_for }) => (up_for === 0 ? "error" : (WEB_LEVELS[state] ?? "warning")),
      },
      { title: "Weight", of: ({ weight }) => String(weight), isNumber: true },
      { title: "Active", of: ({ active }) => whole.format(active), isNumber: true },
      { title: "Waiting", of: ({ waiting }) => whole.format(waiting), isNumber: true },
      { title: "Requests/s", of: ({ requests }) => number(requests), isNumber: true },
      {
        title: "5xx/s",
        of: ({ errors }) => number(errors),
        isNumber: true,
        level: ({ errors }) => (errors > 0 ? "error" : ""),
      },
      {
        title: "Failures/s",
        of: ({ failures }) => number(failures),
        isNumber: true,
        level: ({ failures }) => (failures > 0 ? "warning" : ""),
      },
      { title: "Mean response", of: ({ latency_ms }) => ms(latency_ms), isNumber: true },
    ],
    ({ pool, id }) => `${pool}/${id}`,
  );

/** Events that are shown at most. */
const EVENTS = 200;

/** What happened, the newest first. */
export function eventList(list: HTMLElement): {
  readonly add: (events: readonly ArrayEvent[]) => void;
  readonly clear: () => void;
} {
  return {
    add: (events) => {
      for (const event of events) list.prepend(eventLine(event));
      while (list.children.length > EVENTS) list.lastElementChild?.remove();
    },
    clear: () => list.replaceChildren(),
  };
}

function eventLine({ at_ms, severity, node, kind, text, facts }: ArrayEvent): HTMLElement {
  const line = make("li");
  setLevel(line, EVENT_LEVELS[severity] ?? "info");
  const time = make("time", "quiet", new Date(at_ms).toLocaleTimeString("en", { hourCycle: "h23" }));
  time.dateTime = new Date(at_ms).toISOString();
  const about = Object.entries(facts)
    .filter(([name]) => name !== "node")
    .map(([name, value]) => `${name}=${value}`)
    .join(" ");
  const said = severity === "info" ? "" : `${severity}: `;
  line.append(
    time,
    ` ${node} `,
    make("strong", "", `${said}${kind}`),
    ` ${text}`,
    make("span", "quiet", ` ${about}`),
  );
  return line;
}
