/**
 * The failover process's heartbeats: a node that does not schedule asks the scheduler's kernel whether it lives. The
 * scheduler itself asks all others, from its scheduler process, which judges them.
 */
import { deriveKey, readArrayKey } from "../conf/keys.ts";
import { schedulerOf } from "../conf/scheduler-role.ts";
import type { Config, NodeConfig } from "../conf/schema.ts";
import { HEARTBEAT_KEY_BYTES } from "../net/heartbeat.ts";
import { startHeartbeats, type HeartbeatOptions, type HeartbeatSender } from "../net/heartbeat-sender.ts";

/** What this process sends, and to whom. Throws DlbaError when the array key can't be read. */
export function heartbeatOptions(config: Config, node: NodeConfig, pinDir: string): HeartbeatOptions {
  const scheduler = schedulerOf(config).number;
  return {
    pinDir,
    key: deriveKey(readArrayKey(config.array.key_file), "heartbeat", HEARTBEAT_KEY_BYTES),
    number: node.number,
    interfaces: [node.interface, ...node.interfaces.map((further) => further.interface)],
    peers: scheduler === node.number ? [] : [scheduler],
    heartbeat_ms: config.scheduler.heartbeat_ms,
  };
}

/** Starts sending; undefined where there is nobody to ask. Throws DlbaError when the array key can't be read. */
export function startOwnHeartbeats(
  config: Config,
  node: NodeConfig,
  pinDir: string,
): HeartbeatSender | undefined {
  const options = heartbeatOptions(config, node, pinDir);
  return options.peers.length === 0 ? undefined : startHeartbeats(options);
}
