// One question over UDP, for those who go on when its answer is there. What is done with the answer must not run inside a
// promise: there an exception would become a rejection that looks like a failure of the network.

import type { DialDatagram } from '../base/ports.js';

/** What came of it. */
export type DatagramResult = Buffer | 'timeout' | 'unreachable';

/**
 * Asks, and calls `then` once. An exception in `then`, or a rejection that is no error of the system, is an uncaught
 * exception of the process: a broken invariant ends it, wherever it happens.
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

/** Whether an error is the operating system's word (EMFILE, ENETUNREACH …), and no fault in the program. */
export const isSystemError = (error: unknown): boolean =>
  error instanceof Error && 'code' in error && typeof error.code === 'string' && /^E[A-Z0-9]+$/.test(error.code);
