// Assigns names to shards for the policy `sharded`.

import { finishedHash, FNV_OFFSET, hashed } from '../base/hash.js';

/**
 * The shard of a name: a hash of its registrable domain. Without a list of public suffixes, that is taken to be the
 * last two labels, or three if the last two are as short as those of co.uk and com.au. All names of a site then go to
 * one server, and no server sees all sites.
 * @param question starts with the name, uncompressed
 * @param key a random number, so that it cannot be predicted which server gets which names
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
