// Counts the open sessions of clients, from the moment when a connection is accepted, TLS handshakes included. The
// count covers all stream listeners, and is bounded in total and per client.

import type { Socket } from 'node:net';

import type { Observer } from '../base/observer.js';

const MAX_SESSIONS_PER_CLIENT = 20;

/** The transport of a session. */
export type StreamTransport = 'tcp' | 'tls';

/** Counts the sessions of all stream listeners. */
export class SessionTable {
  private readonly counts = { tcp: 0, tls: 0 };
  private readonly perClient = new Map<string, number>();

  /**
   * @param max in total; os/limits computes how many there is room for
   * @param maxPerClient per address
   */
  constructor(
    private readonly observer: Observer,
    readonly max: number,
    // One client must not take all sessions if there are few.
    private readonly maxPerClient = Math.max(1, Math.min(MAX_SESSIONS_PER_CLIENT, max >> 1)),
  ) {}

  /** Open sessions. */
  get sessions(): { readonly tcp: number; readonly tls: number } {
    return this.counts;
  }

  /** Counts a connection until it closes. False: there are too many, and it must be closed. */
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
