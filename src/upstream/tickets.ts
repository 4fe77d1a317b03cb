// TLS sessions for resumption (RFC 8446 §2.2). Node.js does not check identities when a session is resumed, so each
// session is stored with the verdict of its own handshake, under everything that the verdict depends on: what a server
// proved in one handshake says nothing about who answered another. Each is used once (RFC 8446 §C.4), so that an
// observer cannot link two connections to one client.

import { bounded } from '../base/bounded.js';
import { wallMs, type WallMs } from '../base/time.js';
import type { PeerVerdict } from './identity.js';

/** A session, and the verdict of the handshake that it comes from. */
export interface Ticket {
  readonly session: Buffer;
  readonly verdict: Extract<PeerVerdict, { at: 'accepted' }>;
}

/** A ticket and when it ends. */
interface Kept {
  readonly ticket: Ticket;
  readonly untilMs: WallMs;
}

/** The most sessions per server. */
const MOST_SESSIONS = 4;
const MOST_SERVERS = 64;
/** RFC 8446 §4.6.1 allows a week. A day is enough. */
const LIFETIME_MS = 86_400_000;

/** The tickets of all servers. */
export class Tickets {
  /** By identity key; the oldest first. */
  private readonly servers = bounded<Kept[]>(MOST_SERVERS, () => undefined);

  constructor(private readonly wallNow: () => WallMs) {}

  /** Removes and returns the newest ticket that is still valid. */
  take(identity: string): Ticket | undefined {
    const kept = this.servers.get(identity) ?? [];
    while (kept.length > 0) {
      const newest = kept.pop();
      if (newest !== undefined && newest.untilMs > this.wallNow()) return newest.ticket;
    }
    return undefined;
  }

  /** Keeps a session, if its server was accepted. */
  put(identity: string, session: Buffer, verdict: PeerVerdict): void {
    if (verdict.at !== 'accepted') return;
    // A session does not outlive the certificate that the verdict is about.
    const endsMs = Number.isNaN(verdict.untilMs) ? 0 : verdict.untilMs;
    const untilMs = wallMs(Math.min(this.wallNow() + LIFETIME_MS, endsMs));
    const kept = this.servers.get(identity) ?? [];
    kept.push({ ticket: { session, verdict }, untilMs });
    if (kept.length > MOST_SESSIONS) kept.shift();
    this.servers.set(identity, kept, 1);
  }

  /** Forgets the sessions of a server, which does not take them. */
  drop(identity: string): void {
    this.servers.delete(identity);
  }
}
