// TLS sessions for resumption (RFC 8446 §2.2). Node.js does not check identities when a session is resumed, so sessions
// are stored with their verdict, under everything that the verdict depends on. Each is used once (RFC 8446 §C.4), so
// that an observer cannot link two connections to one client.

import { bounded } from '../base/bounded.js';
import { wallMs, type WallMs } from '../base/time.js';
import type { PeerVerdict } from './identity.js';

type Accepted = Extract<PeerVerdict, { at: 'accepted' }>;

/** The sessions of one server, oldest first, and the verdict of their handshake. */
interface Resumable {
  readonly sessions: { readonly session: Buffer; readonly untilMs: WallMs }[];
  verdict: Accepted;
}

/** The most sessions per server. */
const MOST_SESSIONS = 4;
const MOST_SERVERS = 64;
/** RFC 8446 §4.6.1 allows a week. A day is enough. */
const LIFETIME_MS = 86_400_000;

/** The tickets of all servers. */
export class Tickets {
  private readonly servers = bounded<Resumable>(MOST_SERVERS, () => undefined);

  constructor(private readonly wallNow: () => WallMs) {}

  /** Removes and returns the newest session that is still valid. */
  take(identity: string): Buffer | undefined {
    const sessions = this.servers.get(identity)?.sessions ?? [];
    while (sessions.length > 0) {
      const newest = sessions.pop();
      if (newest !== undefined && newest.untilMs > this.wallNow()) return newest.session;
    }
    return undefined;
  }

  /** Keeps a session, if its server was accepted. */
  put(identity: string, session: Buffer, verdict: PeerVerdict): void {
    if (verdict.at !== 'accepted') return;
    // A session does not outlive the certificate that the verdict is about.
    const endsMs = Number.isNaN(verdict.untilMs) ? 0 : verdict.untilMs;
    const untilMs = wallMs(Math.min(this.wallNow() + LIFETIME_MS, endsMs));
    const entry = this.servers.get(identity);
    if (entry === undefined) {
      this.servers.set(identity, { sessions: [{ session, untilMs }], verdict }, 1);
      return;
    }
    entry.verdict = verdict;
    entry.sessions.push({ session, untilMs });
    if (entry.sessions.length > MOST_SESSIONS) entry.sessions.shift();
  }

  /** The verdict on the server that the sessions under this key come from. */
  verdict(identity: string): Accepted | undefined {
    return this.servers.get(identity)?.verdict;
  }
}
