// Octets that wait to leave together: copies one behind the other, because a Buffer for each query takes longer to make than a
// query takes to write.

const FIRST_BYTES = 1024;
/** A turn that queues more makes room for itself alone. */
const MOST_FIRST_BYTES = 1 << 16;
const NO_OCTETS = Buffer.alloc(0);

/** The octets. Whoever fills it bounds their number. */
export class Outbox {
  private octets = NO_OCTETS;
  private filled = 0;
  /** The room that the next octets get first: what was needed last time. */
  private firstBytes = FIRST_BYTES;

  get isEmpty(): boolean {
    return this.filled === 0;
  }

  /** Copies octets behind the others. */
  add(bytes: Buffer): void {
    const { octets, filled } = this;
    const needed = filled + bytes.length;
    if (needed > octets.length) {
      this.octets = Buffer.allocUnsafeSlow(Math.max(this.firstBytes, 2 * octets.length, needed));
      octets.copy(this.octets, 0, 0, filled);
    }
    this.octets.set(bytes, filled);
    this.filled = needed;
  }

  /** All octets, which leave now. */
  take(): Buffer {
    const { octets, filled } = this;
    this.firstBytes = Math.min(Math.max(FIRST_BYTES, octets.length), MOST_FIRST_BYTES);
    this.octets = NO_OCTETS;
    this.filled = 0;
    return octets.subarray(0, filled);
  }
}
