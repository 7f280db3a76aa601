/** Whether the time of day still goes as time passes. Nothing is decided by it; who reads logs wants to know. Pure. */
import { CLOCK_JUMP_MS } from "../conf/limits.ts";

/** Tells by how many seconds the clock has jumped since the last look; 0 when it has not. */
export function clockWatch(): (wall_ms: number, monotonic_ms: number) => number {
  let offset_ms: number | undefined;
  return (wall_ms, monotonic_ms) => {
    const before_ms = offset_ms ?? wall_ms - monotonic_ms;
    offset_ms = wall_ms - monotonic_ms;
    const jump_ms = offset_ms - before_ms;
    return Math.abs(jump_ms) < CLOCK_JUMP_MS ? 0 : Math.round(jump_ms / 1000);
  };
}
