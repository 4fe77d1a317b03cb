// Checks whether a daemon answers, with a query that it answers without any server.

import { setTimeout as sleep } from 'node:timers/promises';

import type { ListenAddress } from '../os/listen-address.js';
import { systemRandom } from '../os/clock.js';
import { dialDatagram } from '../upstream/plain.js';

/** ANY for the root: it takes the path of all queries, and the daemon answers it itself (RFC 8482). */
export const SELF_QUERY: Buffer = Buffer.from('000001000001000000000000' + '00' + '00ff0001', 'hex');

const TRY_MS = 1000;

/** Sends the query over UDP, at most `tries` times. */
export async function answers(at: ListenAddress, tries: number): Promise<boolean> {
  const query = Buffer.from(SELF_QUERY);
  query.writeUInt16BE(systemRandom().uint16(), 0);
  for (let i = 0; i < tries; i++) {
    const reply = await dialDatagram(at, query, octets => octets.subarray(0, 2).equals(query.subarray(0, 2)), TRY_MS);
    if (reply instanceof Buffer) return true;
    if (reply === 'unreachable' && i + 1 < tries) await sleep(TRY_MS);
  }
  return false;
}
