/**
 * A session is all that happens between one client connection and the web servers behind it: requests one
 * after the other, each chosen a web server and relayed, as a state machine over bytes and events. It keeps
 * plain data only and reads no clock, so it can be replayed, fuzzed, and gone on with on another node.
 *
 * The engine calls one of these for each input; session-port.ts says what it gets to hear in turn.
 */
export { onClientBytes, onClientEnd, onClientLost, takesClientBytes } from "./session/client.ts";
export {
  onBodyMoved,
  onServerBytes,
  onServerEnd,
  onServerLost,
  onServerTrailers,
  unseen_bytes,
} from "./session/server.ts";
export { createSession, renewSession, type Session } from "./session/state.ts";
export { onStreamData, onStreamEnd, onStreamRequest } from "./session/stream.ts";
export { onDrain, onOverdue, onRetire, onStop, onTimeout } from "./session/timing.ts";
export { onServerConnected, onServerFailed, onServerRefused, onTurn } from "./session/web-server.ts";
