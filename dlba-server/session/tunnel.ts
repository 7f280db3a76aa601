/**
 * A WebSocket's way through the session: after the web server has granted the upgrade, bytes go both ways as they come, each side
 * may end before the other, and the connection to the web server serves nobody else.
 *
 * Nothing of what the client sends goes on before the web server has said 101 with the answer to the client's own key. So whatever
 * a client says it wants, what follows a refused upgrade is read as the next request.
 */
import type { AccessEnd } from "../access-line.ts";
import { FRAMING } from "../http/framing.ts";
import { response } from "../http/response.ts";
import { rewriteResponseHead } from "../http/response-head.ts";
import { isWebsocketGranted, UPGRADE_LINES } from "../http/websocket.ts";
import type { HeaderEdits } from "../rules/edits.ts";
import { PHASE, type SessionEnv, type SessionPort } from "../session-port.ts";
import { closeConnection, endRequest, failServer, letGoOfServer } from "./ending.ts";
import { namingLines } from "./persistence.ts";
import type { Session } from "./state.ts";

/** 101 (Switching Protocols): the answer to a request for it, or the web server's fault. */
export function switchProtocols(s: Session, env: SessionEnv, port: SessionPort, bytes: Buffer): void {
  if (s.websocketKey === "" || !isWebsocketGranted(s.websocketKey)) {
    failServer(s, port, 502);
    return;
  }
  s.isKept = false;
  s.isServerKept = false;
  s.isAnswered = true;
  s.requestHead = "";
  s.websocketKey = "";
  // All that comes from here on is taken, both ways, up to the end of the connections.
  s.isRequestDone = false;
  s.responseFraming = FRAMING.close;
  s.phase = PHASE.tunnel;
  sayGranted(s, env, port, bytes);
  port.tunnelBegins();
}

/** On a stream the consent is a 200 (RFC 8441 5), and the web server's answer to our key is nobody's business. */
const NOT_ON_STREAMS: HeaderEdits = {
  removed: ["sec-websocket-accept", "content-length"],
  lines: [],
  text: "",
};

function sayGranted(s: Session, env: SessionEnv, port: SessionPort, bytes: Buffer): void {
  const status = s.isStream ? 200 : 101;
  port.countResponse(s.server, status);
  response.status = status;
  if (s.isStream) port.clientHead(bytes, NOT_ON_STREAMS, namingLines(s, env));
  else port.clientText(rewriteResponseHead(false, env.via, null, namingLines(s, env) + UPGRADE_LINES));
}

/** A good answer that is no switch of protocols would be read as consent by a stream's client. */
export const isFalseConsent = (s: Session): boolean =>
  s.isStream && s.websocketKey !== "" && response.status >= 200 && response.status < 300;

export function tunnelClientBytes(port: SessionPort, bytes: Buffer, start: number, end: number): number {
  port.serverBytes(bytes, start, end);
  return end;
}

/** The client has said its last byte. */
export function endTunnelClient(s: Session, port: SessionPort): void {
  if (s.isServerEnded) endTunnel(s, port, "done");
  else port.endServer();
}

/** The web server has said its last byte. */
export function endTunnelServer(s: Session, port: SessionPort): void {
  s.isServerEnded = true;
  if (s.isClientEnded) endTunnel(s, port, "done");
  else port.endClient();
}

/** Both have, or it has been silent for too long. */
export function endTunnel(s: Session, port: SessionPort, end: AccessEnd): void {
  letGoOfServer(s, port, false);
  endRequest(s, port, end);
  closeConnection(s, port);
}
