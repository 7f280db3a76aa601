/** `show servers state`, version 1 of HAProxy's format: what its scripts read to carry states over. Pure. */
import { gridCsv } from "../grid.ts";
import type { NodeView, PoolView, WebServerView } from "../node-view.ts";
import { webServerKey } from "../node-view.ts";

const TITLES =
  "be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight srv_time_since_last_change " +
  "srv_check_status srv_check_result srv_check_health srv_check_state srv_agent_state bk_f_forced_id srv_f_forced_id " +
  "srv_fqdn srv_port srvrecord srv_use_ssl srv_check_port srv_check_addr srv_agent_addr srv_agent_port";

/** 0: stopped, 2: running. */
const STATE = { stopped: 0, running: 2 };
/** What an operator has said: maintenance, or drain. */
const ADMIN_STATES: Readonly<Record<string, number>> = { maint: 1, drain: 8 };

type Cell = string | number;

/** The web servers of all pools, or of one. Text is HAProxy's; JSON and CSV have its titles. */
export function serversState(
  view: NodeView,
  pool: string | undefined,
  format: "text" | "json" | "csv",
): string {
  const first = 2 + view.vservers.length;
  const rows = view.pools.flatMap((each, index) =>
    pool === undefined || each.config.name === pool || String(first + index) === pool
      ? each.servers.map((server, number) => cells(view, each, server, first + index, number + 1))
      : [],
  );
  const titles = TITLES.split(" ");
  if (format === "json") {
    const servers = rows.map((row) => Object.fromEntries(titles.map((title, i) => [title, row[i]!])));
    return `${JSON.stringify({ servers })}\n`;
  }
  if (format === "csv") {
    return gridCsv(
      titles.map((title, i) => ({ title, key: title, of: (row: readonly Cell[]) => row[i]! })),
      rows,
    );
  }
  return `1\n# ${TITLES}\n${rows.map((row) => `${row.join(" ")}\n`).join("")}`;
}

function cells(
  { observed, facts }: NodeView,
  pool: PoolView,
  { config, sum }: WebServerView,
  beId: number,
  srvId: number,
): Cell[] {
  const { name } = pool.config;
  const isUp = sum === undefined || sum.seen_by === 0 || sum.is_up;
  const since_s = observed.stateOf(webServerKey(name, config.id), facts.uptime_s * 1000)?.since_s ?? 0;
  const admin = ADMIN_STATES[sum?.state ?? ""] ?? 0;
  const weight = sum?.weight ?? config.weight;
  const state = [isUp ? STATE.running : STATE.stopped, admin, weight, config.weight, since_s];
  // No check of HAProxy's kind: unknown status and result, health 0, no agent, no number forced.
  const checks = [1, 0, isUp ? 1 : 0, 0, 0, 0, 0];
  return [
    beId,
    name,
    srvId,
    config.id,
    config.address,
    ...state,
    ...checks,
    "-",
    config.port,
    "-",
    0,
    0,
    "-",
    "-",
    0,
  ];
}
