/** Methods that every Node Buffer has and its types leave out: one call less than `toString` and `write`. */
interface Buffer {
  latin1Slice(start?: number, end?: number): string;
  latin1Write(text: string, offset?: number, length?: number): number;
}
