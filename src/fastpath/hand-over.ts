// Datagrams on their way from a front thread to the main thread: records in a ring of shared memory, one writer and one
// reader. Nothing is allocated for them, and only a reader that has gone to rest has to be woken.
//
//   record   octets u32 (of the whole record, a multiple of 4; 0: go on at the start) · socket u16 · route octets u16 ·
//            message octets u16 · (u16) · route · message

import { copyOctets, putU16, putU32, u16At, u32At } from '../base/octets.js';
import type { Messages } from '../os/datagrams.js';
import type { Routes } from './routes.js';

/** Several thousand queries: more than may wait for upstream. */
const RING_BYTES = 1 << 20;
/** How many records are read in one turn; then the event loop does other work. */
const MAX_RECORDS_PER_READ = 256;
const RECORD_HEAD_BYTES = 12;

/** The words of the control memory. */
const WRITTEN = 0;
const READ = 1;
/** 1 while the reader has been woken and not yet gone back to rest. */
const WOKEN = 2;
const CONTROL_BYTES = 16;

/** Takes one datagram. Route and message are copies. */
export type Take = (socket: number, route: Buffer, message: Buffer) => void;

/** The ring, from either side. */
export class HandOver {
  private readonly control: Int32Array;
  private readonly ring: Buffer;

  constructor(memory: SharedArrayBuffer) {
    this.control = new Int32Array(memory, 0, CONTROL_BYTES / 4);
    this.ring = Buffer.from(memory, CONTROL_BYTES);
  }

  static memory(): SharedArrayBuffer {
    return new SharedArrayBuffer(CONTROL_BYTES + RING_BYTES);
  }

  /**
   * Writes datagram i of a batch. False: the ring is full, and the datagram is lost, as it would be at a full socket.
   */
  write(socket: number, queries: Messages, i: number): boolean {
    const { ring, control } = this;
    const messageBytes = queries.bytes(i);
    const routeBytes = queries.routeBytes(i);
    const bytes = (RECORD_HEAD_BYTES + routeBytes + messageBytes + 3) & ~3;
    let written = Atomics.load(control, WRITTEN);
    // Positions grow for ever and wrap at 2^32, of which the ring's size is a divisor.
    let at = (written >>> 0) % RING_BYTES;
    const skip = at + bytes > RING_BYTES ? RING_BYTES - at : 0;
    const used = (written - Atomics.load(control, READ)) >>> 0;
    if (used + skip + bytes > RING_BYTES) return false;
    if (skip > 0) {
      putU32(ring, at, 0);
      written = (written + skip) | 0;
      at = 0;
    }
    putU32(ring, at, bytes);
    putU16(ring, at + 4, socket);
    putU16(ring, at + 6, routeBytes);
    putU16(ring, at + 8, messageBytes);
    queries.copyRoute(i, ring, at + RECORD_HEAD_BYTES);
    queries.copyMessage(i, ring, at + RECORD_HEAD_BYTES + routeBytes);
    Atomics.store(control, WRITTEN, (written + bytes) | 0);
    return true;
  }

  /** Whether the reader must be woken. The writer calls this after writing. */
  mustWake(): boolean {
    return Atomics.exchange(this.control, WOKEN, 1) === 0;
  }

  /**
   * Reads records, up to MAX_RECORDS_PER_READ. False: there are more. True: the reader may rest until it is woken.
   * @param routes where the Buffers for routes come from
   */
  read(routes: Pick<Routes, 'take'>, take: Take): boolean {
    const { control, ring } = this;
    for (let taken = 0; taken < MAX_RECORDS_PER_READ;) {
      const read = Atomics.load(control, READ);
      if (read === Atomics.load(control, WRITTEN)) {
        Atomics.store(control, WOKEN, 0);
        // A record may have been written after the first look, by a writer that still saw the reader awake.
        if (read === Atomics.load(control, WRITTEN) || Atomics.exchange(control, WOKEN, 1) === 1) return true;
        continue;
      }
      const at = (read >>> 0) % RING_BYTES;
      const bytes = u32At(ring, at);
      if (bytes === 0) {
        Atomics.store(control, READ, (read + RING_BYTES - at) | 0);
        continue;
      }
      const socket = u16At(ring, at + 4);
      const routeBytes = u16At(ring, at + 6);
      const route = routes.take();
      copyOctets(ring, at + RECORD_HEAD_BYTES, routeBytes, route, 0);
      const message = Buffer.allocUnsafe(u16At(ring, at + 8));
      copyOctets(ring, at + RECORD_HEAD_BYTES + routeBytes, message.length, message, 0);
      Atomics.store(control, READ, (read + bytes) | 0);
      taken++;
      take(socket, route, message);
    }
    return false;
  }
}
