// Answers, and what the stages answer a query with.

import type { Source } from '../base/observer.js';
import type { Failure, Verdict } from '../base/outcome.js';
import type { AgeSec } from '../base/time.js';
import { type Entry, localEntry, makeEntry, type TtlLimits } from '../cache/entry.js';
import type { UpstreamReply } from '../upstream/pool.js';
import type { StoredMessage } from '../wire/reply.js';

/** Which part of this program an answer comes from. */
export type Origin = 'cache' | 'upstream' | 'route' | 'portal' | 'local';

/** The label values that origins are counted under. A route and the portal are upstream servers, too. */
const SOURCES: Readonly<Record<Origin, Source>> = {
  cache: 'cache',
  upstream: 'upstream',
  route: 'upstream',
  portal: 'upstream',
  local: 'local',
};

/**
 * An answer. It wraps the entry instead of copying its fields: an answer from the cache is an entry already, and only
 * the entry is stored.
 */
export class Answer {
  readonly at = 'answer';

  constructor(
    readonly origin: Origin,
    /** Message, verdict, extended errors, dates, and the server that sent it. Its octets are borrowed. */
    readonly entry: Entry,
    /** The server that has just sent it; 0: no server was asked for this query. */
    readonly serverId: number,
  ) {}

  /** An answer from the cache. */
  static cached(entry: Entry): Answer {
    return new Answer('cache', entry, 0);
  }

  /** An answer made by this program. */
  static local(message: StoredMessage, ageNow: AgeSec): Answer {
    return new Answer('local', localEntry(message, ageNow), 0);
  }

  /** The reply that a server has just sent. Its TTLs are changed, and the answer borrows its octets. */
  static replied(
    origin: 'upstream' | 'route' | 'portal',
    { message, scan, server, protocol }: UpstreamReply,
    limits: TtlLimits,
    ageNow: AgeSec,
    verdict: Verdict = 'unchecked',
  ): Answer {
    return new Answer(
      origin,
      makeEntry(message, scan, limits, { ageNow, verdict, upstream: server.label, protocol }),
      server.id,
    );
  }

  /** The same answer with another entry. */
  withEntry(entry: Entry): Answer {
    return new Answer(this.origin, entry, this.serverId);
  }

  /** The label value that it is counted under. */
  get source(): Source {
    return SOURCES[this.origin];
  }

  /** Seconds since it was stored. */
  elapsedSec(ageNow: AgeSec): number {
    return this.origin === 'cache' ? Math.floor(ageNow - this.entry.storedAt) : 0;
  }

  /**
   * Whether the reply may be sent to all clients that ask the same, until its TTL is over. Extended errors are counted
   * with every reply, and a ready reply is sent without being read.
   */
  get mayBeKeptReady(): boolean {
    return this.entry.ttlSec > 0 && this.entry.extendedErrors.length === 0;
  }
}

/** The outcome of a query. */
export type Outcome = Answer | Failure;
