// What a client sends over TLS, held and released as a test wants it: records in one segment, or in parts.

import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';

/** The way from a client to a port: what the client sends can be held, and released in one segment, or in parts. */
export class Gate extends Duplex {
  private readonly held: Buffer[] = [];
  /** Chunks that pass before others are held; -1: all pass. */
  private passing = -1;

  constructor(private readonly to: Socket) {
    super();
    to.on('data', (chunk: Buffer) => this.push(chunk)).on('close', () => this.push(null));
  }

  override _read(): void {}

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    if (this.passing === 0) this.held.push(chunk);
    else this.to.write(chunk);
    if (this.passing > 0) this.passing--;
    done();
  }

  /** Holds what comes behind the next chunks. */
  hold(passing = 0): void {
    this.passing = passing;
  }

  /** Sends what was held without its last octets. @returns sends these, and holds nothing any more */
  release(without = 0): () => void {
    const all = Buffer.concat(this.held.splice(0));
    this.to.write(all.subarray(0, all.length - without));
    return () => {
      this.passing = -1;
      if (without > 0) this.to.write(all.subarray(all.length - without));
    };
  }
}
