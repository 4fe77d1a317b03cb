// Counts the frames that a client sends over HTTP/2 (RFC 9113 §4.1), before node:http2 sees them. Requests that are
// answered earn frames, all others cost: a client that cancels its requests at once, or floods with PING, SETTINGS,
// CONTINUATION, WINDOW_UPDATE or empty frames (RFC 9113 §10.5), runs out of them.
//
//   frame header   length (3 octets), type (1), flags (1), stream (4)

/** The magic octets that a client begins with (RFC 9113 §3.4). */
const PREFACE_BYTES = 24;
const HEADER_BYTES = 9;
const RST_STREAM = 3;

/** What a client may send before it has got an answer: a burst of requests, and what browsers send beside them. */
const FIRST_FRAMES = 500;
/** What may be saved, */
const MOST_FRAMES = 1000;
/** what an answer earns, */
const EARNED = 8;
/** and what a cancelled request costs: it makes work, and gets no answer (CVE-2023-44487). */
const RESET_COST = 4;

/** The frames of one connection. */
export class FrameBudget {
  private left = FIRST_FRAMES;
  /** Octets to pass until the next frame header; negative: so many octets of it are missing. */
  private skip = PREFACE_BYTES;
  /** Octets of a frame header that have come, and the length and the type as far as they are read. */
  private seen = 0;
  private length = 0;

  /** A request was answered. */
  earn(): void {
    this.left = Math.min(MOST_FRAMES, this.left + EARNED);
  }

  /** Counts the frames that begin in these octets. @returns whether they may be handled */
  spend(octets: Buffer): boolean {
    for (let at = 0; at < octets.length;) {
      if (this.skip > 0) {
        const passed = Math.min(this.skip, octets.length - at);
        this.skip -= passed;
        at += passed;
      } else this.readHeader(octets[at++] ?? 0);
    }
    return this.left >= 0;
  }

  private readHeader(octet: number): void {
    const { seen } = this;
    if (seen < 3) this.length = (seen === 0 ? 0 : this.length << 8) | octet;
    else if (seen === 3) this.left -= octet === RST_STREAM ? RESET_COST : 1;
    this.seen = (seen + 1) % HEADER_BYTES;
    if (this.seen === 0) this.skip = this.length;
  }
}
