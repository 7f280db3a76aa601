/**
 * The clock that all processes of a machine share with its kernel and its BPF programs (CLOCK_MONOTONIC): it goes on
 * whatever happens to the time of day.
 */

/** Nanoseconds as a double, which rounds off less than a microsecond for 104 days and little more after. */
export const monotonic_ns = (): number => Number(process.hrtime.bigint());

/** Whole milliseconds. */
export const monotonic_ms = (): number => Math.floor(monotonic_ns() / 1e6);
