// The places for HTTP connections, bounded in total and per client. A newcomer gets a place as long as some connection
// does nothing: connections that say nothing, or too little, shut nobody out.

import { clientNetwork } from '../base/address.js';
import type { Clock } from '../base/ports.js';
import { monoAfter, type MonoMs } from '../base/time.js';

/** A connection, as far as its place depends on it. */
export interface Occupant {
  readonly isClosed: boolean;
  /** Whether it ever had a request. */
  readonly hasAsked: boolean;
  /** Whether a request of it is being answered. */
  readonly isAnswering: boolean;
  /** Since when it has done what it does: waits for a request, answers one, or closes. */
  readonly since: MonoMs;
  destroy(): void;
}

interface Place {
  readonly client: string;
  readonly occupant: Occupant;
  /** If the occupant has asked, the place is nobody else's before that. */
  readonly keptUntil: MonoMs;
}

/** Browsers open six connections for a page, and all programs of a machine may have one address. */
const MOST_PER_CLIENT = 16;
/**
 * A connection that has asked keeps its place for this long at least, even if it closes, and gets one answer in this
 * time: a client that opens or asks without end gets 640 answers a second, which leaves the event loop to queries.
 */
export const PACE_MS = 25;

/** The places. */
export class HttpPlaces {
  private readonly places = new Set<Place>();
  private readonly mostPerClient: number;

  /**
   * @param most in total
   * @param dropped called for each connection that is closed for another, or gets no place
   */
  constructor(
    private readonly clock: Clock,
    private readonly most: number,
    private readonly dropped: () => void,
  ) {
    this.mostPerClient = Math.max(1, Math.min(MOST_PER_CLIENT, most >> 1));
  }

  /**
   * Gives a place to a new connection. If there is none, the connection that has waited the longest is closed: of the
   * same client if it has all that one client may have, else of the client that has the most.
   * @param open makes the connection, if it gets a place
   * @returns false: all others had a request just now
   */
  take(address: string, open: () => Occupant): boolean {
    const now = this.clock.monotonicMs();
    for (const place of this.places) if (place.occupant.isClosed && isFree(place, now)) this.places.delete(place);
    const client = clientNetwork(address);
    const counts = new Map<string, number>();
    for (const place of this.places) counts.set(place.client, (counts.get(place.client) ?? 0) + 1);
    const countOf = (each: string): number => counts.get(each) ?? 0;
    const isAtMost = countOf(client) >= this.mostPerClient;
    if (isAtMost || this.places.size >= this.most) {
      this.dropped();
      const [chosen] = [...this.places]
        .filter(place => isFree(place, now) && (!isAtMost || place.client === client))
        .sort((a, b) => countOf(b.client) - countOf(a.client) || byUse(a.occupant, b.occupant));
      if (chosen === undefined) return false;
      this.places.delete(chosen);
      chosen.occupant.destroy();
    }
    this.places.add({ client, occupant: open(), keptUntil: monoAfter(now, PACE_MS) });
    return true;
  }
}

/** The one that has waited the longest first; those that are answered last. */
const byUse = (a: Occupant, b: Occupant): number => Number(a.isAnswering) - Number(b.isAnswering) || a.since - b.since;

/** Whether it may be given to another connection. */
const isFree = ({ occupant, keptUntil }: Place, now: MonoMs): boolean => !occupant.hasAsked || keptUntil <= now;
