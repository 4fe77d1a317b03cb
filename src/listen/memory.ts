// Memory for octets that come from clients or go to them, and have to wait. It is used again and again: the garbage
// collector frees large buffers long after their use, above all those that have waited for some time, and one client
// could fill some tens of megabytes with such garbage.

/** The smallest piece, */
const SMALLEST_BITS = 12;
/** and the largest that is kept: what a session is owed at most. */
const LARGEST_BITS = 17;
/** How much is kept when nothing needs it. */
const MOST_FREE_BYTES = 1 << 22;

/** Views that are kept. */
const MOST_VIEWS = 512;

/** Gives out pieces of memory, whose sizes are powers of two. */
export class Memory {
  /** Free pieces, by the logarithm of their size. */
  private readonly free: Buffer[][] = Array.from({ length: LARGEST_BITS + 1 }, () => []);
  private freeBytes = 0;
  /** The piece whose beginnings were wanted last, and those that were wanted, by their length. */
  private viewed: Buffer | undefined = undefined;
  private readonly views = new Map<number, Buffer>();

  /** A piece of at least so many octets. Whoever does not use it any more may give it back. */
  take(bytes: number): Buffer {
    const bits = bitsFor(bytes);
    if (bits > LARGEST_BITS) return Buffer.allocUnsafeSlow(bytes);
    const piece = this.free[bits]?.pop();
    if (piece === undefined) return Buffer.allocUnsafeSlow(1 << bits);
    this.freeBytes -= piece.length;
    return piece;
  }

  /** The first octets of a piece. A view of them takes as long to make as a part of a cached answer, so they are kept. */
  beginning(piece: Buffer, bytes: number): Buffer {
    const { views } = this;
    // Mostly one piece is used again and again.
    if (piece !== this.viewed || views.size > MOST_VIEWS) views.clear();
    this.viewed = piece;
    let view = views.get(bytes);
    if (view === undefined) views.set(bytes, (view = piece.subarray(0, bytes)));
    return view;
  }

  give(piece: Buffer): void {
    if (piece.length > 1 << LARGEST_BITS || this.freeBytes + piece.length > MOST_FREE_BYTES) return;
    this.free[bitsFor(piece.length)]?.push(piece);
    this.freeBytes += piece.length;
  }
}

/** The logarithm of the size of a piece for so many octets. */
const bitsFor = (bytes: number): number => Math.max(SMALLEST_BITS, 32 - Math.clz32(bytes - 1));
