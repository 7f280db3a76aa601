/** The handshake of the WebSocket protocol (RFC 6455 4), in heads that were scanned last. What comes after it is not looked at. */
import { createHash } from "node:crypto";
import { options } from "./connection-options.ts";
import { FIELD } from "./fields.ts";
import { head, joinedValue, nameText, valueText } from "./head.ts";

const PROTOCOL = "websocket";
/** 16 bytes in base64. */
const KEY = /^[A-Za-z0-9+/]{21}[AQgw]==$/;
const VERSION = "13";
const GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/** The lines that ask for the upgrade on our own hop, or grant it. */
export const UPGRADE_LINES = "Connection: Upgrade\r\nUpgrade: websocket\r\n";

/** The only field of a name in lower case; undefined when it is not there, or more than once. */
function onlyValue(name: string): string | undefined {
  let found: string | undefined;
  for (let field = 0; field < head.fields; field++) {
    if (nameText(field) !== name) continue;
    if (found !== undefined) return undefined;
    found = valueText(field);
  }
  return found;
}

export const isWebsocket = (protocol: string): boolean => protocol.toLowerCase() === PROTOCOL;
const asksForWebsocket = (): boolean => isWebsocket(joinedValue(FIELD.upgrade));

/** Whether the head has a field that belongs to upgrades alone. */
export function hasKey(): boolean {
  for (let field = 0; field < head.fields; field++) if (nameText(field) === "sec-websocket-key") return true;
  return false;
}

/** The key of a request that asks for a WebSocket and for nothing else; "" when it does not, or not in full. */
export function websocketKey(): string {
  const key = asksForWebsocket() ? onlyValue("sec-websocket-key") : undefined;
  const isWhole = key !== undefined && KEY.test(key) && onlyValue("sec-websocket-version") === VERSION;
  return isWhole ? key : "";
}

/** What the web server has to answer to a key. */
export const acceptValue = (key: string): string =>
  createHash("sha1")
    .update(key + GUID)
    .digest("base64");

/** Whether a 101 (Switching Protocols) is the answer to this key: nobody else's, and no other protocol's. */
export function isWebsocketGranted(key: string): boolean {
  const isSwitch = asksForWebsocket() && options.named.includes("upgrade");
  return isSwitch && onlyValue("sec-websocket-accept") === acceptValue(key);
}
