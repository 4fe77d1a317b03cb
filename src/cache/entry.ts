// One answer as it is kept: the octets that came, their TTLs brought into bounds, and how long they hold.
// Replaying it is copying and patching (wire/reply); nothing is decoded again.

import type { Verdict } from '../base/outcome.js';
import type { ExtendedError } from '../wire/edns.js';
import { type Scan, ttlAt } from '../wire/scan.js';
import type { StoredMessage } from '../wire/reply.js';

/** The bounds that configuration sets, in seconds. */
export interface TtlLimits {
  readonly minSec: number;
  readonly maxSec: number;
  readonly negativeMaxSec: number;
}

/** An answer with its dates. */
export interface Entry extends StoredMessage {
  /** On the age clock. */
  readonly storedSec: number;
  /** How long it may be served from `storedSec` on; 0: only to those who are waiting for it now. */
  readonly ttlSec: number;
  readonly negative: boolean;
  readonly verdict: Verdict;
  readonly extendedErrors: readonly ExtendedError[];
  /** The configured name of the server that gave it, and how it travelled. */
  readonly upstream: string;
  readonly protocol: string;
}

/** What the message itself does not say. */
export interface Provenance {
  readonly nowSec: number;
  readonly verdict: Verdict;
  readonly upstream: string;
  readonly protocol: string;
}

/** Makes an Entry of a scanned response; the message's octets are changed, and not kept. */
export function makeEntry(message: Buffer, scan: Scan, limits: TtlLimits, { nowSec, ...rest }: Provenance): Entry {
  const ttlSec = lifetime(scan, limits);
  // Written into the message itself: it is read no more, and a string of it is a copy.
  for (const offset of scan.ttlOffsets) {
    message.writeUInt32BE(Math.min(Math.max(ttlAt(message, offset), limits.minSec), limits.maxSec), offset);
  }
  // RFC 2308 §5: the SOA tells the client how long the denial holds.
  if (scan.soaTtlOffset !== undefined) message.writeUInt32BE(ttlSec, scan.soaTtlOffset);

  return {
    octets: message.toString('latin1', 0, scan.end),
    rcode: scan.rcode,
    answers: scan.answers,
    authority: scan.authority,
    additional: scan.additional,
    ttlOffsets: scan.ttlOffsets,
    storedSec: nowSec,
    ttlSec,
    negative: scan.negative,
    extendedErrors: scan.extendedErrors,
    ...rest,
  };
}

function lifetime(scan: Scan, limits: TtlLimits): number {
  // What may not be kept at all (a failure, a denial without SOA, a TC answer) is not kept by min_ttl either.
  const keepable = !scan.truncated && (scan.negative ? scan.soaTtlOffset !== undefined : scan.rcode === 0);
  if (!keepable) return 0;
  const max = scan.negative ? Math.min(limits.maxSec, limits.negativeMaxSec) : limits.maxSec;
  return Math.min(Math.max(scan.ttlSec, limits.minSec), max);
}

// V8's own objects around one entry (the entry, its strings' heads, the array of offsets, the map's slots): heap growth
// per entry beyond its octets, measured on Node 20 with 100,000 entries.
const OVERHEAD_BYTES = 570;

/** What an entry costs in memory, near enough to bound by. */
export const entryBytes = (key: string, entry: Entry): number =>
  OVERHEAD_BYTES + key.length + entry.octets.length + 8 * entry.ttlOffsets.length;
