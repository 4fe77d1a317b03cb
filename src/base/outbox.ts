// Octets that wait to leave together: copies one behind the other, because a Buffer for each query takes longer to make than a
// query takes to write. What has left stays where it is, until the piece of memory is full and another one is taken.

const PIECE_BYTES = 1 << 14;
const NO_OCTETS = Buffer.alloc(0);

/** The octets. Whoever fills it bounds their number. */
export class Outbox {
  private piece = NO_OCTETS;
  /** Those that wait are [start, end) of it. */
  private start = 0;
  private end = 0;

  get isEmpty(): boolean {
    return this.start === this.end;
  }

  /** Copies octets behind the others. */
  add(bytes: Buffer): void {
    if (this.end + bytes.length > this.piece.length) this.makeRoom(bytes.length);
    this.piece.set(bytes, this.end);
    this.end += bytes.length;
  }

  /** All octets, which leave now. */
  take(): Buffer {
    const { start, end } = this;
    this.start = end;
    return this.piece.subarray(start, end);
  }

  private makeRoom(bytes: number): void {
    const { piece, start, end } = this;
    const waiting = end - start;
    this.piece = Buffer.allocUnsafeSlow(Math.max(PIECE_BYTES, 2 * waiting, waiting + bytes));
    piece.copy(this.piece, 0, start, end);
    this.start = 0;
    this.end = waiting;
  }
}
