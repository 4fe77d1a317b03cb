// TLS sessions to be resumed (RFC 8446 §2.2): kept under all that decides whether a server is accepted, with that decision,
// because Node.js checks no identity when a session is resumed. Each is used once (RFC 8446 §C.4), so that nobody on the way
// can tell two connections to be one client's.

import { bounded } from '../base/bounded.js';
import type { Judged } from './identity.js';

type Accepted = Extract<Judged, { at: 'accepted' }>;

/** The tickets of all servers. */
export interface Tickets {
  /** The newest one that is still good; it is gone then. */
  take(identity: string): Buffer | undefined;
  /** Keeps one from a server that was accepted; of one that was not, nothing. */
  put(identity: string, session: Buffer, judged: Judged): void;
  /** What was decided about the server that the tickets under this key come from. */
  verdict(identity: string): Accepted | undefined;
}

interface Kept {
  readonly sessions: { readonly session: Buffer; readonly untilMs: number }[];
  judged: Accepted;
}

/** Of one server. */
const MOST = 4;
const SERVERS = 64;
/** RFC 8446 §4.6.1 allows a week; a day is long enough for what it saves. */
const LIFETIME_MS = 86_400_000;

/** Makes the table. */
export function tickets(wallMs: () => number): Tickets {
  const kept = bounded<Kept>(SERVERS, () => undefined);
  return {
    take(identity) {
      const sessions = kept.get(identity)?.sessions ?? [];
      while (sessions.length > 0) {
        const newest = sessions.pop();
        if (newest !== undefined && newest.untilMs > wallMs()) return newest.session;
      }
      return undefined;
    },
    put(identity, session, judged) {
      if (judged.at !== 'accepted') return;
      // Never longer than the certificate that the verdict is about.
      const untilMs = Math.min(wallMs() + LIFETIME_MS, Number.isNaN(judged.untilMs) ? 0 : judged.untilMs);
      const entry = kept.get(identity);
      if (entry === undefined) {
        kept.set(identity, { sessions: [{ session, untilMs }], judged }, 1);
        return;
      }
      entry.judged = judged;
      entry.sessions.push({ session, untilMs });
      if (entry.sessions.length > MOST) entry.sessions.shift();
    },
    verdict: identity => kept.get(identity)?.judged,
  };
}
