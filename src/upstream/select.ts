// Which server is asked. A pure choice; whether a server may be asked at all is mode.ts's word.

import { finishedHash, FNV_OFFSET, hashed } from '../base/hash.js';
import type { Random } from '../base/ports.js';

/** The configured policy. */
export type Policy = 'fastest' | 'ordered' | 'round_robin' | 'random' | 'sharded';

/** What a choice needs to know of a candidate. */
export interface Candidate {
  /** Smoothed round-trip time, or undefined while nothing was measured. */
  readonly srttMs: number | undefined;
  /** A usable connection is there already. */
  readonly open: boolean;
  /** The same for all addresses of one server. */
  readonly shardId: number;
}

// One query in twenty goes to a server chosen by chance, or the slow would never be seen to have become fast.
const EXPLORE_ONE_IN = 20;

/**
 * Chooses one of the candidates, which are in the order of the configuration.
 * @param turn a number that grows by one with each query, for round_robin
 * @param shard a number that is the same for all names of one registrable domain, for sharded
 */
export function choose<C extends Candidate>(
  policy: Policy,
  candidates: readonly C[],
  turn: number,
  shard: number,
  random: Random,
): C | undefined {
  if (candidates.length < 2) return candidates[0];
  switch (policy) {
    case 'ordered':
      return candidates[0];
    case 'round_robin':
      return candidates[turn % candidates.length];
    case 'random':
      return candidates[random.below(candidates.length)];
    case 'sharded':
      // Rendezvous hashing: when a server is out of reach, only its own domains move.
      return candidates.reduce((best, each) =>
        weight(each.shardId, shard) > weight(best.shardId, shard) ? each : best,
      );
    case 'fastest': {
      if (random.below(EXPLORE_ONE_IN) === 0) return candidates[random.below(candidates.length)];
      return candidates.reduce((best, each) => (cost(each) < cost(best) ? each : best));
    }
  }
}

/** An unmeasured server is tried before known ones if it costs no handshake, after them if it does. */
const cost = ({ srttMs, open }: Candidate): number => srttMs ?? (open ? 0 : Number.MAX_SAFE_INTEGER);

const weight = (serverId: number, shard: number): number => finishedHash(Math.imul(serverId ^ shard, 0x9e3779b1)) >>> 0;

/**
 * The shard of a name: a hash of its registrable domain, as well as that can be told without a list of all public
 * suffixes: the last two labels, or three where the last two are as short as those of co.uk and com.au. Names of one site
 * then go to one server, and none of the servers sees all sites.
 * @param question starts with the name, uncompressed
 * @param key drawn at start, so that which server sees what is nobody's business
 */
export function shardOf(question: Buffer, key: number): number {
  const starts: number[] = [];
  for (let at = 0; (question[at] ?? 0) !== 0; at += (question[at] ?? 0) + 1) starts.push(at);
  const top = question[starts.at(-1) ?? 0] ?? 0;
  const second = question[starts.at(-2) ?? 0] ?? 0;
  const labels = starts.length > 2 && top === 2 && second <= 3 ? 3 : 2;
  let hash = FNV_OFFSET ^ key;
  for (let at = starts.at(-labels) ?? 0; at < question.length - 4; at++) {
    const octet = question[at] ?? 0;
    hash = hashed(hash, octet >= 0x41 && octet <= 0x5a ? octet | 0x20 : octet);
  }
  return finishedHash(hash);
}
