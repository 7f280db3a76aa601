/**
 * Flags of Node for a worker.
 *
 * There is one worker per core, so helper threads of the garbage collector would only fight with it, or with the next
 * worker, for a core: measured, they took 3 to 5 % of its CPU time. What a request leaves behind is garbage at once: the
 * fewer collections of young objects there are, the fewer of them are carried along (16 MB at a time: 4 to 5 %).
 */
export const WORKER_NODE_FLAGS = ["--single-threaded-gc", "--min-semi-space-size=16"];
