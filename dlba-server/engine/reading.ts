/** What reading a stream returns beside a count of bytes, and what waits in this worker. */

export const END = 0;
export const WOULD_BLOCK = -1;
export const FAILED = -2;
/** Of a body: it has to be read. */
export const NOT_MOVED = -3;
/** Over TLS: the end came without the peer's saying so. */
export const CUT = -4;

/** What waits in this worker for all its connections together: only what could not be written or taken at once. */
export const buffered = { bytes: 0 };
