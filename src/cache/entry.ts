// One answer and its dates: the octets that came, their TTLs brought into bounds, and how long they hold.
// Replaying it is copying and patching (wire/reply); nothing is decoded again.

import { putU32 } from '../base/octets.js';
import type { Verdict } from '../base/outcome.js';
import type { UpstreamProtocol } from '../base/observer.js';
import type { ExtendedError } from '../wire/edns.js';
import { ttlAt } from '../wire/records.js';
import type { Scan } from '../wire/scan.js';
import type { StoredMessage } from '../wire/reply.js';

/** The bounds that configuration sets, in seconds. */
export interface TtlLimits {
  readonly minSec: number;
  readonly maxSec: number;
  readonly negativeMaxSec: number;
}

/**
 * An answer with its dates. Its octets are borrowed, from the store or from a read buffer: whoever needs them after
 * returning to the event loop copies them.
 */
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
  readonly protocol: UpstreamProtocol;
}

/** What the message itself does not say. */
export interface Provenance {
  readonly nowSec: number;
  readonly verdict: Verdict;
  readonly upstream: string;
  readonly protocol: UpstreamProtocol;
}

/** Makes an Entry of a scanned response. The message is changed, and the entry borrows its octets. */
export function makeEntry(message: Buffer, scan: Scan, limits: TtlLimits, from: Provenance): Entry {
  const ttlSec = lifetime(scan, limits);
  for (const offset of scan.ttlOffsets) {
    putU32(message, offset, Math.min(Math.max(ttlAt(message, offset), limits.minSec), limits.maxSec));
  }
  // RFC 2308 §5: the SOA tells the client how long the denial holds.
  if (scan.soaTtlOffset !== undefined) putU32(message, scan.soaTtlOffset, ttlSec);

  return {
    octets: scan.end === message.length ? message : message.subarray(0, scan.end),
    rcode: scan.rcode,
    answers: scan.answers,
    authority: scan.authority,
    additional: scan.additional,
    ttlOffsets: scan.ttlOffsets,
    storedSec: from.nowSec,
    ttlSec,
    negative: scan.negative,
    verdict: from.verdict,
    extendedErrors: scan.extendedErrors,
    upstream: from.upstream,
    protocol: from.protocol,
  };
}

function lifetime(scan: Scan, limits: TtlLimits): number {
  // What may not be kept at all (a failure, a denial without SOA, a TC answer) is not kept by min_ttl either.
  const keepable = !scan.truncated && (scan.negative ? scan.soaTtlOffset !== undefined : scan.rcode === 0);
  if (!keepable) return 0;
  const max = scan.negative ? Math.min(limits.maxSec, limits.negativeMaxSec) : limits.maxSec;
  return Math.min(Math.max(scan.ttlSec, limits.minSec), max);
}
