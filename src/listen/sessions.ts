// How many sessions clients have open: counted from the moment a connection is accepted, TLS handshakes included, over all
// stream listeners, and bounded in all and for each client.

import type { Socket } from 'node:net';

import type { Observer } from '../base/observer.js';

/** Sessions of clients that may be open at one time. */
export const MAX_SESSIONS = 1000;
const MAX_SESSIONS_PER_CLIENT = 20;

/** How a session reaches us. */
export type StreamTransport = 'tcp' | 'tls';

/** Counts the sessions of all stream listeners. */
export class SessionTable {
  private readonly counts = { tcp: 0, tls: 0 };
  private readonly perClient = new Map<string, number>();

  /**
   * @param max in all; os/limits says how many there is room for
   * @param maxPerClient by address
   */
  constructor(
    private readonly observer: Observer,
    readonly max = MAX_SESSIONS,
    // One client must not take all where there are few.
    private readonly maxPerClient = Math.max(1, Math.min(MAX_SESSIONS_PER_CLIENT, max >> 1)),
  ) {}

  /** Open sessions. */
  get sessions(): { readonly tcp: number; readonly tls: number } {
    return this.counts;
  }

  /** Counts a connection until it closes; false: there are enough, and it has to go. */
  admit(socket: Socket, address: string, transport: StreamTransport): boolean {
    const { counts, perClient } = this;
    const before = perClient.get(address) ?? 0;
    if (counts.tcp + counts.tls >= this.max || before >= this.maxPerClient) {
      this.observer.dropped('connections');
      return false;
    }
    counts[transport]++;
    perClient.set(address, before + 1);
    socket.once('close', () => {
      counts[transport]--;
      const left = (perClient.get(address) ?? 1) - 1;
      if (left > 0) perClient.set(address, left);
      else perClient.delete(address);
    });
    return true;
  }
}
