// One query over UDP with a callback. The answer must not be handled inside a promise: there an exception would become
// a rejection, which looks like a failure of the network.

import type { DialDatagram } from '../base/ports.js';
import { isSystemError } from '../base/system-error.js';

/** The result of a query. */
export type DatagramResult = Buffer | 'timeout' | 'unreachable';

/**
 * Sends a query, and calls `then` once. An exception in `then`, or a rejection that is no system error, becomes an
 * uncaught exception and ends the process, like every broken invariant.
 */
export function sendDatagram(
  dialDatagram: DialDatagram,
  target: { readonly address: string; readonly port: number },
  query: Buffer,
  accept: (reply: Buffer) => boolean,
  timeoutMs: number,
  then: (result: DatagramResult) => void,
): void {
  dialDatagram(target, query, accept, timeoutMs).then(
    result => queueMicrotask(() => then(result)),
    (error: unknown) =>
      queueMicrotask(() => {
        if (!isSystemError(error)) throw error;
        then('unreachable');
      }),
  );
}
