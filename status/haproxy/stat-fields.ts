/**
 * The columns of HAProxy's `show stat` (2.6, management guide 9.1 and 9.3.1), in their order, with what its typed output says of
 * each: origin, nature and scope, and the type. What has no tags here is known by name and never filled in by us.
 */
const FIELDS = {
  pxname: "KNS str",
  svname: "KNS str",
  qcur: "MGP u32",
  qmax: "MMP u32",
  scur: "MGP u32",
  smax: "MMP u32",
  slim: "CLP u32",
  stot: "MCP u64",
  bin: "MCP u64",
  bout: "MCP u64",
  dreq: "MCP u64",
  dresp: "MCP u64",
  ereq: "MCP u64",
  econ: "MCP u64",
  eresp: "MCP u64",
  wretr: "MCP u64",
  wredis: "MCP u64",
  status: "SGP str",
  weight: "MaP u32",
  act: "SGP u32",
  bck: "SGP u32",
  chkfail: "MCP u64",
  chkdown: "MCP u64",
  lastchg: "MAP u32",
  downtime: "MCP u32",
  qlimit: "",
  pid: "KGP u32",
  iid: "KGS u32",
  sid: "KGS u32",
  throttle: "",
  lbtot: "MCP u64",
  tracked: "",
  type: "CGS u32",
  rate: "MRP u32",
  rate_lim: "CLP u32",
  rate_max: "MMP u32",
  check_status: "MOP str",
  check_code: "",
  check_duration: "MDP u64",
  hrsp_1xx: "MCP u64",
  hrsp_2xx: "MCP u64",
  hrsp_3xx: "MCP u64",
  hrsp_4xx: "MCP u64",
  hrsp_5xx: "MCP u64",
  hrsp_other: "MCP u64",
  hanafail: "",
  req_rate: "MRP u32",
  req_rate_max: "MMP u32",
  req_tot: "MCP u64",
  cli_abrt: "MCP u64",
  srv_abrt: "MCP u64",
  comp_in: "MCP u64",
  comp_out: "MCP u64",
  comp_byp: "MCP u64",
  comp_rsp: "MCP u64",
  lastsess: "MAP s32",
  last_chk: "MOP str",
  last_agt: "",
  qtime: "MaP u32",
  ctime: "MaP u32",
  rtime: "MaP u32",
  ttime: "MaP u32",
  agent_status: "",
  agent_code: "",
  agent_duration: "",
  check_desc: "MOP str",
  agent_desc: "",
  check_rise: "CGS u32",
  check_fall: "CGS u32",
  check_health: "CGS u32",
  agent_rise: "",
  agent_fall: "",
  agent_health: "",
  addr: "CGS str",
  cookie: "",
  mode: "CGS str",
  algo: "CGS str",
  conn_rate: "MRP u32",
  conn_rate_max: "MMP u32",
  conn_tot: "MCP u64",
  intercepted: "MCP u64",
  dcon: "MCP u64",
  dses: "MCP u64",
  wrew: "MCP u64",
  connect: "MCP u64",
  reuse: "MCP u64",
  cache_lookups: "MCP u64",
  cache_hits: "MCP u64",
  srv_icur: "MGP u32",
  src_ilim: "",
  qtime_max: "MMP u32",
  ctime_max: "MMP u32",
  rtime_max: "MMP u32",
  ttime_max: "MMP u32",
  eint: "MCP u64",
  idle_conn_cur: "MGP u32",
  safe_conn_cur: "MGP u32",
  used_conn_cur: "MGP u32",
  need_conn_est: "MGP u32",
  uweight: "MaP u32",
  agg_server_status: "MGP u32",
  agg_server_check_status: "MGP u32",
} as const;

export type StatField = keyof typeof FIELDS;
export type StatValue = string | number;
/** What is known of a proxy or server; the other columns stay empty, as HAProxy leaves those that mean nothing there. */
export type StatValues = Readonly<Partial<Record<StatField, StatValue>>>;

export interface StatColumn {
  readonly name: StatField;
  readonly position: number;
  /** Three letters: origin, nature, scope. */
  readonly tags: string;
  readonly type: string;
}

export const STAT_COLUMNS: readonly StatColumn[] = Object.entries(FIELDS).map(([name, text], position) => {
  const [tags = "", type = ""] = text.split(" ");
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- Object.entries forgets the names of the keys
  return { name: name as StatField, position, tags, type };
});
