// Reads what a connection begins with, before it is known who reads the rest.

import type { Socket } from 'node:net';

/**
 * Reads the first octets of a connection. What is not needed must be put back with `unshift`, in `then`.
 * @param wanted how many octets must have come, judging by those that have: at most as many, if these are enough. They
 * are copied at each call, so that it must not grow by little for long
 * @param ended called in place of `then` when the client sends no more. @param then gets all octets that have come
 */
export function readFirst(
  socket: Socket,
  wanted: (octets: Buffer) => number,
  { then, ended }: { readonly then: (octets: Buffer) => void; readonly ended: (octets: number) => void },
): void {
  const chunks: Buffer[] = [];
  let bytes = 0;
  let least = 1;
  const end = (): void => ended(bytes);
  const look = (): void => {
    const chunk: unknown = socket.read();
    if (!(chunk instanceof Buffer)) return;
    chunks.push(chunk);
    bytes += chunk.length;
    if (bytes < least) return;
    const octets = Buffer.concat(chunks);
    least = wanted(octets);
    if (bytes < least) return;
    socket.off('readable', look).off('end', end);
    then(octets);
  };
  socket.on('readable', look).on('end', end);
}
