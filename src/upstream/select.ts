// In which order servers are asked. A pure choice; whether a server may be asked at all is mode.ts's word.

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
 * Orders candidates, best first.
 * @param turn a number that grows by one with each query, for round_robin
 */
export function order<C extends Candidate>(policy: Policy, candidates: readonly C[], turn: number, random: Random): C[] {
  if (candidates.length < 2) return [...candidates];
  switch (policy) {
    case 'ordered':
      return [...candidates];
    case 'round_robin':
      return startingAt(candidates, turn % candidates.length);
    case 'random':
      return startingAt(candidates, random.below(candidates.length));
    // Until `sharded` is built it behaves as `fastest`, and the daemon says so at start.
    case 'sharded':
    case 'fastest': {
      const fastest = [...candidates].sort((a, b) => cost(a) - cost(b));
      return random.below(EXPLORE_ONE_IN) > 0 ? fastest : startingAt(fastest, random.below(fastest.length));
    }
  }
}

/** An unmeasured server is tried before known ones if it costs no handshake, after them if it does. */
const cost = ({ srttMs, open }: Candidate): number => srttMs ?? (open ? 0 : Number.MAX_SAFE_INTEGER);

const startingAt = <C>(list: readonly C[], first: number): C[] => [...list.slice(first), ...list.slice(0, first)];
