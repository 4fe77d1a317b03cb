// TLS sessions to be resumed (RFC 8446 §2.2): kept under all that decides whether a server is accepted, with that verdict,
// because Node.js checks no identity when a session is resumed. Each is used once (RFC 8446 §C.4), so that nobody on the
// path can tell that two connections are one client's.

import { bounded } from '../base/bounded.js';
import { wallMs, type WallMs } from '../base/time.js';
import type { PeerVerdict } from './identity.js';

type Accepted = Extract<PeerVerdict, { at: 'accepted' }>;

/** The sessions of one server, oldest first, and the verdict that they were kept with. */
interface Resumable {
  readonly sessions: { readonly session: Buffer; readonly untilMs: WallMs }[];
  verdict: Accepted;
}

/** Sessions that are kept of one server. */
const MOST_SESSIONS = 4;
const MOST_SERVERS = 64;
/** RFC 8446 §4.6.1 allows a week; a day is long enough for what it saves. */
const LIFETIME_MS = 86_400_000;

/** The tickets of all servers. */
export class Tickets {
  private readonly servers = bounded<Resumable>(MOST_SERVERS, () => undefined);

  constructor(private readonly wallNow: () => WallMs) {}

  /** The newest one that is still good; it is gone then. */
  take(identity: string): Buffer | undefined {
    const sessions = this.servers.get(identity)?.sessions ?? [];
    while (sessions.length > 0) {
      const newest = sessions.pop();
      if (newest !== undefined && newest.untilMs > this.wallNow()) return newest.session;
    }
    return undefined;
  }

  /** Keeps one from a server that was accepted; of one that was not, nothing. */
  put(identity: string, session: Buffer, verdict: PeerVerdict): void {
    if (verdict.at !== 'accepted') return;
    // Never longer than the certificate that the verdict is about.
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

  /** The verdict about the server that the tickets under this key come from. */
  verdict(identity: string): Accepted | undefined {
    return this.servers.get(identity)?.verdict;
  }
}
