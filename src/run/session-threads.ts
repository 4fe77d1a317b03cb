// The session threads of the daemon: one for each transport whose handshakes take long.

import type { FrontCounts } from '../base/front-counts.js';
import type { ThreadTransport } from './session-messages.js';
import { SessionThread } from './session-thread.js';

/** The threads, of which those that nothing needs are not started. */
export class SessionThreads implements Readonly<Record<ThreadTransport, SessionThread>> {
  readonly tls = new SessionThread('tls');
  readonly https = new SessionThread('https');

  /** Starts some ahead. */
  start(transports: readonly ThreadTransport[]): void {
    for (const each of transports) this[each].start();
  }

  /** Queries that they have handed over, and whose replies they do not have. */
  get waiting(): number {
    return this.tls.waiting + this.https.waiting;
  }

  /** The counts since the last call. */
  counted(): readonly FrontCounts[] {
    return [...this.tls.counted(), ...this.https.counted()];
  }

  /** Ends them, and all of their sessions. */
  async close(): Promise<void> {
    await Promise.all([this.tls.close(), this.https.close()]);
  }
}
