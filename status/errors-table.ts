/** `show errors`: the last refused requests and responses of this node, their bytes in lines, the bad one marked. Pure. */
import type { Refusal } from "../conf/messages.ts";
import { gridCsv, gridRecord, type Column, type Format } from "./grid.ts";

const COLUMNS: readonly Column<Refusal>[] = [
  { title: "Time", key: "time", of: ({ at_ms }) => new Date(at_ms).toISOString() },
  { title: "Kind", key: "kind", of: ({ kind }) => kind },
  { title: "Vserver", key: "vserver", of: ({ vserver }) => vserver },
  { title: "Client", key: "client", of: ({ client }) => client },
  { title: "Client Port", key: "client_port", of: ({ client_port }) => client_port },
  { title: "Web Server", key: "web_server", of: ({ web_server }) => web_server },
  { title: "Status", key: "status", of: ({ status }) => status },
  { title: "Bad Byte", key: "bad_at", of: ({ bad_at }) => bad_at },
  { title: "Length", key: "length", of: ({ length }) => length },
  { title: "Bytes", key: "bytes", of: ({ bytes }) => bytes },
];

/** Newest first. The bytes stand in base64 in JSON and CSV. */
export function errorsTable(refusals: readonly Refusal[], format: Format): string {
  const rows = refusals.toSorted((one, other) => other.at_ms - one.at_ms);
  if (format === "json")
    return `${JSON.stringify({ errors: rows.map((row) => gridRecord(COLUMNS, row)) })}\n`;
  if (format === "csv") return gridCsv(COLUMNS, rows);
  if (rows.length === 0) return "No request or response has been refused yet.\n";
  return rows.map(refusalText).join("");
}

function refusalText({
  at_ms,
  kind,
  vserver,
  client,
  client_port,
  web_server,
  status,
  ...rest
}: Refusal): string {
  const { bad_at, length, bytes } = rest;
  const time = new Date(at_ms).toISOString();
  const who =
    kind === "request" ? `of client ${client}:${client_port}` : `of web server ${web_server ?? "?"}`;
  const what = bad_at === null ? "no byte by itself is wrong" : `byte ${bad_at} is wrong`;
  const head = `[${time}] vserver ${vserver}: a ${kind} ${who} was refused with ${status}; ${length} bytes, ${what}\n`;
  return head + bytesText(Buffer.from(bytes, "base64"), length, bad_at);
}

const LINE_BYTES = 70;
const ESCAPES: Readonly<Record<number, string>> = { 9: "\\t", 10: "\\n", 13: "\\r", 92: "\\\\" };

/** A byte as it may stand in a line. */
function shown(byte: number): string {
  const escape = ESCAPES[byte];
  if (escape !== undefined) return escape;
  return byte >= 32 && byte < 127 ? String.fromCharCode(byte) : `\\x${byte.toString(16).padStart(2, "0")}`;
}

/** Lines that end where the sender's do, with where each begins; under the bad byte stand carets. */
function bytesText(bytes: Buffer, length: number, bad_at: number | null): string {
  let text = "";
  for (let at = 0; at < bytes.length;) {
    const newline = bytes.indexOf(10, at);
    const end = Math.min(newline === -1 ? bytes.length : newline + 1, at + LINE_BYTES, bytes.length);
    const parts = Array.from(bytes.subarray(at, end), shown);
    text += `  ${String(at).padStart(5)}  ${parts.join("")}\n`;
    if (bad_at !== null && bad_at >= at && bad_at < end) {
      const before = parts.slice(0, bad_at - at).join("").length;
      text += `         ${" ".repeat(before)}${"^".repeat(parts[bad_at - at]!.length)}\n`;
    }
    at = end;
  }
  return length > bytes.length ? `${text}         … ${length - bytes.length} more\n` : text;
}
