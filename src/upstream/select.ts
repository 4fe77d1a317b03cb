// Which server is asked. A pure choice; whether a server may be asked at all is mode.ts's word.

import type { Random } from '../base/ports.js';

/** The configured policy. */
export type Policy = 'fastest' | 'ordered' | 'round_robin' | 'random' | 'sharded';

/** What a choice needs to know of a candidate. */
export interface Candidate {
  /** Smoothed round-trip time, or undefined while nothing was measured. */
  readonly srttMs: number | undefined;
  /** A usable connection is there already. */
  readonly open: boolean;
}

// One query in twenty goes to a server chosen by chance, or the slow would never be seen to have become fast.
const EXPLORE_ONE_IN = 20;

/**
 * Chooses one of the candidates, which are in the order of the configuration.
 * @param turn a number that grows by one with each query, for round_robin
 */
export function choose<C extends Candidate>(policy: Policy, candidates: readonly C[], turn: number, random: Random): C | undefined {
  if (candidates.length < 2) return candidates[0];
  switch (policy) {
    case 'ordered':
      return candidates[0];
    case 'round_robin':
      return candidates[turn % candidates.length];
    case 'random':
      return candidates[random.below(candidates.length)];
    // Until `sharded` is built it behaves as `fastest`, and the daemon says so at start.
    case 'sharded':
    case 'fastest': {
      if (random.below(EXPLORE_ONE_IN) === 0) return candidates[random.below(candidates.length)];
      return candidates.reduce((best, each) => (cost(each) < cost(best) ? each : best));
    }
  }
}

/** An unmeasured server is tried before known ones if it costs no handshake, after them if it does. */
const cost = ({ srttMs, open }: Candidate): number => srttMs ?? (open ? 0 : Number.MAX_SAFE_INTEGER);
