// How many queries each client may send: a token bucket per IPv4 address and per IPv6 /64, in memory that threads share, so that a
// front thread decides before a query costs anything else.
//
// Of each bucket one number is kept: when it would be full again (the "theoretical arrival time" of the generic cell rate
// algorithm). Two threads may overwrite each other's number; then a client gets one query more. The table is bounded: what a
// new client displaces is the bucket of its set that is full again soonest, and a full bucket says nothing that is lost.

import { isMapped } from '../base/address.js';
import { SIPHASH_KEY_BYTES, SipHash } from '../base/siphash.js';

/**
 * What happens to a query: it is served, it gets an empty reply with TC set because there are too many of them or because it must prove
 * its sender's address, or none at all.
 */
export type Ruling = 'serve' | 'truncate' | 'unproven' | 'drop';

/**
 * Whom a bucket is for: a client whose address nobody has proved, one whose address is proved (a TCP connection, a cookie), or
 * one outside access.allow. Whoever forges the address of a client empties its first bucket, but not the second.
 */
export const KIND = { claimed: 0, proven: 1, foreign: 2 } as const;
export type Kind = (typeof KIND)[keyof typeof KIND];
/** All clients outside access.allow together. */
const ALL_FOREIGN = 3;
/** Beside the kind: four octets of an IPv4 address are no /64, and half of a link-local address is none either. */
const OF_IPV4 = 4;
const OF_LINK_LOCAL = 8;

/** Queries per second, and how many at once. */
export interface Rate {
  readonly perSecond: number;
  readonly burst: number;
}

/** A client outside access.allow that asks by mistake learns so; a flood from there is worth no replies. */
const FOREIGN: Rate = { perSecond: 10, burst: 20 };
const EVERY_FOREIGN: Rate = { perSecond: 100, burst: 200 };
/** Every second query over the limit gets a reply with TC: a client whose address was forged comes back over TCP. */
const SLIP = 2;

const SETS = 2048;
const WAYS = 4;
const SLOTS = SETS * WAYS;
// The control memory: rate and burst as doubles, the key; then the numbers of the buckets, and the tag and count of each.
const CONTROL_BYTES = 16 + SIPHASH_KEY_BYTES;
const TIMES_AT = CONTROL_BYTES;
const TAGS_AT = TIMES_AT + 8 * SLOTS;
const COUNTS_AT = TAGS_AT + 4 * SLOTS;
const BYTES = COUNTS_AT + 4 * SLOTS;

/** The limits, from any thread. */
export class RateLimit {
  private readonly rate: Float64Array;
  /** When each bucket would be full again. */
  private readonly times: Float64Array;
  /** Half of the hash of whose bucket it is; 0: nobody's. */
  private readonly tags: Int32Array;
  /** Queries over the limit. */
  private readonly counts: Uint32Array;
  private readonly hash: SipHash;
  /** What is hashed: the network and the kind. */
  private readonly whose = Buffer.alloc(9);

  constructor(readonly memory: SharedArrayBuffer) {
    this.rate = new Float64Array(memory, 0, 2);
    this.hash = new SipHash(new Uint8Array(memory, 16, SIPHASH_KEY_BYTES));
    this.times = new Float64Array(memory, TIMES_AT, SLOTS);
    this.tags = new Int32Array(memory, TAGS_AT, SLOTS);
    this.counts = new Uint32Array(memory, COUNTS_AT, SLOTS);
  }

  /**
   * Memory in which nobody has asked yet, and nobody is limited.
   * @param key 16 random octets, so that nobody can choose addresses whose buckets displace each other
   */
  static memory(key: Uint8Array): SharedArrayBuffer {
    const memory = new SharedArrayBuffer(BYTES);
    new Uint8Array(memory, 16, SIPHASH_KEY_BYTES).set(key.subarray(0, SIPHASH_KEY_BYTES));
    return memory;
  }

  /** Sets the rate of a client in access.allow, for all threads. @param rate undefined: there is no limit */
  set(rate: Rate | undefined): void {
    this.rate[1] = rate?.burst ?? 0;
    this.rate[0] = rate?.perSecond ?? 0;
  }

  /** Whether clients in access.allow are limited. */
  get isOn(): boolean {
    return (this.rate[0] ?? 0) > 0;
  }

  /**
   * Takes a token for one query.
   * @param octets the address, 4 or 16 octets at `at`
   * @param nowSec seconds on a clock that all threads share
   */
  rule(octets: Uint8Array, at: number, bytes: 4 | 16, kind: Kind, nowSec: number): Ruling {
    if (kind === KIND.foreign) {
      const mayAnswer =
        this.take(this.slotOf(octets, at, bytes, kind), FOREIGN.perSecond, FOREIGN.burst, nowSec) &&
        this.take(this.slotOf(octets, at, 4, ALL_FOREIGN), EVERY_FOREIGN.perSecond, EVERY_FOREIGN.burst, nowSec);
      return mayAnswer ? 'serve' : 'drop';
    }
    const perSecond = this.rate[0] ?? 0;
    if (perSecond === 0) return 'serve';
    const slot = this.slotOf(octets, at, bytes, kind);
    if (this.take(slot, perSecond, this.rate[1] ?? 0, nowSec)) return 'serve';
    const over = ((this.counts[slot] ?? 0) + 1) >>> 0;
    this.counts[slot] = over;
    return over % SLIP === 0 ? 'truncate' : 'drop';
  }

  /** Takes a token out of a bucket, if there is one. */
  private take(slot: number, perSecond: number, burst: number, nowSec: number): boolean {
    const full = Math.max(this.times[slot] ?? 0, nowSec);
    const next = full + 1 / perSecond;
    // A number from far ahead would limit its client for as long: a lower rate has come into force since.
    if (next - nowSec > burst / perSecond + TOLERANCE_SEC) {
      this.times[slot] = Math.min(full, nowSec + burst / perSecond);
      return false;
    }
    this.times[slot] = next;
    return true;
  }

  /** The bucket of a client, which displaces another one if it is new. */
  private slotOf(octets: Uint8Array, at: number, bytes: 4 | 16, kind: number): number {
    const { whose, hash, tags, times } = this;
    const isFour = bytes === 4 || isMapped(octets, at);
    const isOfLink = !isFour && isLinkLocal(octets, at);
    whose[8] = kind | (isFour ? OF_IPV4 : 0) | (isOfLink ? OF_LINK_LOCAL : 0);
    // All link-local addresses have the same first half: there the second one says who it is.
    const from = bytes === 4 ? at : isFour ? at + 12 : isOfLink ? at + 8 : at;
    for (let i = 0; i < 8; i++) whose[i] = kind === ALL_FOREIGN || (isFour && i >= 4) ? 0 : (octets[from + i] ?? 0);
    hash.read(whose, 0, whose.length);
    const tag = hash.high | 1;
    const first = (hash.low & (SETS - 1)) * WAYS;
    let soonest = first;
    for (let slot = first; slot < first + WAYS; slot++) {
      if (tags[slot] === tag) return slot;
      if ((times[slot] ?? 0) < (times[soonest] ?? 0)) soonest = slot;
    }
    tags[soonest] = tag;
    times[soonest] = 0;
    this.counts[soonest] = 0;
    return soonest;
  }
}

const isLinkLocal = (octets: Uint8Array, at: number): boolean =>
  octets[at] === 0xfe && ((octets[at + 1] ?? 0) & 0xc0) === 0x80;

/** Rounding must not take the last token of a burst away. */
const TOLERANCE_SEC = 1e-6;
