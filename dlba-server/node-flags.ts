/**
 * Flags of Node for a worker. There is one worker per core, so helper threads of the garbage collector would only
 * fight with it, or with the next worker, for a core: measured, they took 3 to 5 % of its CPU time.
 */
export const WORKER_NODE_FLAGS = ["--single-threaded-gc"];
