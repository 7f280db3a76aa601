/**
 * Cuts a byte stream into lines of bounded length, for the Unix sockets of the status process. A long line may
 * come in many pieces, so the pieces are kept as they are and joined once.
 */

export interface LineReader {
  /** Takes the next bytes; calls back for every line that they complete. */
  readonly push: (bytes: Buffer) => void;
}

const NEWLINE = 10;

/**
 * Reads lines of at most `max_bytes` (without the newline; a carriage return before it is cut off). When a line is
 * longer, `onTooLong` is called once and everything after is thrown away.
 */
export function lineReader(
  max_bytes: number,
  onLine: (line: string) => void,
  onTooLong: () => void,
): LineReader {
  let pieces: Buffer[] = [];
  let length_bytes = 0;
  let isBroken = false;

  const add = (piece: Buffer): void => {
    length_bytes += piece.length;
    if (length_bytes <= max_bytes) pieces.push(piece);
    else {
      isBroken = true;
      pieces = [];
      onTooLong();
    }
  };
  const finish = (): void => {
    const line = (pieces.length === 1 ? pieces[0]! : Buffer.concat(pieces)).toString("utf8");
    pieces = [];
    length_bytes = 0;
    onLine(line.endsWith("\r") ? line.slice(0, -1) : line);
  };

  return {
    push: (bytes) => {
      let start = 0;
      for (;;) {
        if (isBroken || start >= bytes.length) return;
        const end = bytes.indexOf(NEWLINE, start);
        add(bytes.subarray(start, end < 0 ? bytes.length : end));
        if (end < 0) return;
        if (!isBroken) finish();
        start = end + 1;
      }
    },
  };
}
