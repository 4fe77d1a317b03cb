// A batch of datagrams on its way from a front thread to the main thread: all of them in one piece of memory, which
// changes hands without being copied.
//
//   each: socket u16 · route octets u16 · message octets u16 · route · message

import type { HandedOver } from './serve.js';

const FIXED_BYTES = 6;

/** Packs a batch. */
export function packBatch(batch: readonly HandedOver[]): ArrayBuffer {
  const bytes = batch.reduce((sum, { route, message }) => sum + FIXED_BYTES + route.length + message.length, 0);
  const memory = new ArrayBuffer(bytes);
  const packed = Buffer.from(memory);
  let at = 0;
  for (const { socket, route, message } of batch) {
    packed.writeUInt16LE(socket, at);
    packed.writeUInt16LE(route.length, at + 2);
    packed.writeUInt16LE(message.length, at + 4);
    at += FIXED_BYTES;
    at += route.copy(packed, at);
    at += message.copy(packed, at);
  }
  return memory;
}

/** Unpacks a batch; routes and messages stay where they are. */
export function* unpackBatch(memory: ArrayBuffer): Iterable<HandedOver> {
  const packed = Buffer.from(memory);
  for (let at = 0; at < packed.length; ) {
    const routeAt = at + FIXED_BYTES;
    const messageAt = routeAt + packed.readUInt16LE(at + 2);
    const end = messageAt + packed.readUInt16LE(at + 4);
    yield { socket: packed.readUInt16LE(at), route: packed.subarray(routeAt, messageAt), message: packed.subarray(messageAt, end) };
    at = end;
  }
}
