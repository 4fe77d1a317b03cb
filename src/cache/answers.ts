// The answer cache: entries by question key, as records of a ring. Failures are not here (cache/failures): a failed attempt
// to refresh an entry must not replace it.

import type { Observer } from '../base/observer.js';
import type { AgeSec } from '../base/time.js';
import { nameInKey } from '../wire/query.js';
import { EntryCodec, ServerLabels } from './codec.js';
import type { Entry } from './entry.js';
import { Ring } from './ring.js';

/** Answers by question key. */
export class AnswerCache {
  private readonly ring: Ring;
  private readonly codec = new EntryCodec(new ServerLabels());
  private forgotten = 0;

  /** @param maxBytes for entries and their index together */
  constructor(
    maxBytes: number,
    private readonly observer: Observer,
  ) {
    this.ring = new Ring(maxBytes, () => observer.cache('eviction'));
  }

  /** A fresh entry, or undefined. Counts the hit or miss. The entry borrows memory until the next `put`. */
  get(key: string, ageNow: AgeSec): Entry | undefined {
    const { ring, codec, observer } = this;
    const at = ring.find(key);
    // An expired entry stays until it is replaced or evicted: mostly a newer answer comes now.
    if (at === -1 || ageNow - codec.storedAt(ring, at) >= codec.ttlSec(ring, at)) {
      observer.cache('miss');
      return undefined;
    }
    ring.touch(at);
    const entry = codec.read(ring, at);
    observer.cache(entry.negative ? 'hit_negative' : 'hit_positive');
    return entry;
  }

  /**
   * An entry that has expired, at most `mostSec` ago, or undefined. It borrows memory until the next `put`. That it was
   * asked for is remembered: it stays while others go.
   */
  expired(key: string, ageNow: AgeSec, mostSec: number): Entry | undefined {
    const { ring, codec } = this;
    const at = ring.find(key);
    if (at === -1) return undefined;
    const pastSec = ageNow - codec.storedAt(ring, at) - codec.ttlSec(ring, at);
    if (pastSec < 0 || pastSec > mostSec) return undefined;
    ring.touch(at);
    return codec.read(ring, at);
  }

  /** Stores a copy of an entry. An entry that may not be stored does not replace another one. */
  put(key: string, entry: Entry): void {
    if (entry.ttlSec === 0) return;
    const at = this.ring.put(key, this.codec.bytesOf(entry));
    if (at !== -1) this.codec.write(this.ring, at, entry);
  }

  /**
   * Forgets answers, and returns how many.
   * @param isMeant called with each name in wire form, lower case, one character per octet
   */
  forget(isMeant: (name: string) => boolean): number {
    this.forgotten++;
    return this.ring.deleteWhere(key => isMeant(nameInKey(key)));
  }

  clear(): void {
    this.forgotten++;
    this.ring.clear();
  }

  /** Changes whenever something is forgotten: the answer to a question that was asked before that must not be kept. */
  get epoch(): number {
    return this.forgotten;
  }

  get entries(): number {
    return this.ring.entries;
  }

  /** Octets in use. */
  get bytes(): number {
    return this.ring.bytes;
  }
}
