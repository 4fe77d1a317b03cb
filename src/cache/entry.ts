// One answer with its dates: its octets, TTLs within bounds, and how long it is valid. It is sent again by copying and
// patching (wire/reply), without decoding.

import { putU32 } from '../base/octets.js';
import type { Verdict } from '../base/outcome.js';
import type { UpstreamProtocol } from '../base/observer.js';
import type { AgeSec } from '../base/time.js';
import { type ExtendedError, NO_ERRORS } from '../wire/edns.js';
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
 * An answer with its dates. Its octets are borrowed, from the cache or from a read buffer: copy them before returning
 * to the event loop.
 */
export interface Entry extends StoredMessage {
  readonly storedAt: AgeSec;
  /** For how long from `storedAt` it may be served; 0: only to clients that wait for it now. */
  readonly ttlSec: number;
  readonly negative: boolean;
  readonly verdict: Verdict;
  /** For how long from `storedAt` the verdict holds, if that may be longer than the TTL: until the signatures expire. */
  readonly verdictSec: number;
  readonly extendedErrors: readonly ExtendedError[];
  /** The label of the server that sent it; empty: it was made here. */
  readonly upstream: string;
  /** The protocol that it came over; undefined: it was made here. */
  readonly protocol: UpstreamProtocol | undefined;
}

/** Facts about an answer that are not in the message. */
export interface Provenance {
  readonly ageNow: AgeSec;
  readonly verdict: Verdict;
  readonly upstream: string;
  readonly protocol: UpstreamProtocol | undefined;
}

/** Makes an Entry of a scanned response. The message is changed, and the entry borrows its octets. */
export function makeEntry(message: Buffer, scan: Scan, limits: TtlLimits, from: Provenance): Entry {
  const ttlSec = lifetime(scan, limits);
  for (const offset of scan.ttlOffsets) {
    putU32(message, offset, Math.min(Math.max(ttlAt(message, offset), limits.minSec), limits.maxSec));
  }
  // RFC 2308 §5: the TTL of the SOA tells the client how long the denial is valid.
  if (scan.soaTtlOffset !== undefined) putU32(message, scan.soaTtlOffset, ttlSec);

  return {
    octets: scan.end === message.length ? message : message.subarray(0, scan.end),
    rcode: scan.rcode,
    answers: scan.answers,
    authority: scan.authority,
    additional: scan.additional,
    ttlOffsets: scan.ttlOffsets,
    storedAt: from.ageNow,
    ttlSec,
    negative: scan.negative,
    verdict: from.verdict,
    verdictSec: Infinity,
    extendedErrors: scan.extendedErrors,
    upstream: from.upstream,
    protocol: from.protocol,
  };
}

/** An Entry of a message that was made here. It is given to one client, and never stored. */
export const localEntry = (message: StoredMessage, ageNow: AgeSec): Entry => ({
  octets: message.octets,
  rcode: message.rcode,
  answers: message.answers,
  authority: message.authority,
  additional: message.additional,
  ttlOffsets: message.ttlOffsets,
  storedAt: ageNow,
  ttlSec: 0,
  negative: false,
  verdict: 'unchecked',
  verdictSec: Infinity,
  extendedErrors: NO_ERRORS,
  upstream: '',
  protocol: undefined,
});

function lifetime(scan: Scan, limits: TtlLimits): number {
  // min_ttl does not apply to messages that must not be stored: failures, denials without SOA, truncated answers.
  const keepable = !scan.truncated && (scan.negative ? scan.soaTtlOffset !== undefined : scan.rcode === 0);
  if (!keepable) return 0;
  const max = scan.negative ? Math.min(limits.maxSec, limits.negativeMaxSec) : limits.maxSec;
  return Math.min(Math.max(scan.ttlSec, limits.minSec), max);
}
