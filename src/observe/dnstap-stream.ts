// dnstap to whoever listens at a Unix socket, in Frame Streams with both sides talking. A listener that is gone or slow costs
// frames, which are counted, and never a query.

import { connect, type Socket } from 'node:net';

import type { Clock, Log } from '../base/ports.js';
import { CONTROL, controlFrame, controlKind } from './dnstap.js';

/** The stream. */
export interface DnstapStream {
  send(frame: Buffer): void;
  close(): void;
}

/** Frames that wait for a slow listener may take so much memory. */
const MOST_WAITING_BYTES = 1 << 20;
const RETRY_MS = 1000;
const RETRY_MOST_MS = 30_000;
const MOST_CONTROL_BYTES = 1024;

/**
 * Connects, and connects anew whenever that is over.
 * @param lost called for each frame that there was no listener or no room for
 */
export function dnstapStream(
  path: string,
  { clock, log, lost }: { readonly clock: Clock; readonly log: Log; readonly lost: () => void },
): DnstapStream {
  let socket: Socket | undefined;
  let accepted = false;
  let closed = false;
  let failures = 0;
  let cancel = (): void => undefined;

  function open(): void {
    const opened = connect(path);
    socket = opened;
    accepted = false;
    opened.unref();
    let heard = Buffer.alloc(0);
    opened.on('connect', () => opened.write(controlFrame(CONTROL.READY)));
    opened.on('data', chunk => {
      if (accepted) return;
      heard = Buffer.concat([heard, chunk]);
      const kind = controlKind(heard);
      if (kind === undefined && heard.length <= MOST_CONTROL_BYTES) return;
      if (kind !== CONTROL.ACCEPT) return void opened.destroy();
      accepted = true;
      failures = 0;
      log.info({ socket: path }, `dnstap goes to ${path}`);
      opened.write(controlFrame(CONTROL.START));
    });
    // Why it ended is told by the close.
    opened.on('error', () => undefined);
    opened.on('close', () => {
      if (opened !== socket || closed) return;
      // Once for each outage.
      if (failures++ === 0)
        log.warn({ socket: path }, `nobody takes dnstap at ${path} (log.dnstap): frames are lost until somebody does`);
      accepted = false;
      cancel = clock.after(Math.min(RETRY_MS * 2 ** failures, RETRY_MOST_MS), open);
    });
  }
  open();

  return {
    send(frame) {
      if (socket === undefined || !accepted || socket.writableLength > MOST_WAITING_BYTES) lost();
      else socket.write(frame);
    },
    close() {
      closed = true;
      cancel();
      if (accepted) socket?.end(controlFrame(CONTROL.STOP));
      else socket?.destroy();
    },
  };
}
