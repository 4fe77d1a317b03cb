// The answer cache: entries by question key, as records of a ring. Failures are not here (cache/failures): a failed attempt
// to refresh an entry must not replace it.

import type { Observer } from '../base/observer.js';
import { ageAfter, type AgeSec } from '../base/time.js';
import { leadsTo } from '../wire/alias-names.js';
import { nameInKey, typeOfKey } from '../wire/query.js';
import { TYPE } from '../wire/rrtype.js';
import { EntryCodec, ServerLabels } from './codec.js';
import type { Entry } from './entry.js';
import { Ring } from './ring.js';
import { malformed, type SnapshotBlock, type StoredBlock } from './snapshot.js';

/** An entry, for those who only look. */
export interface Peeked {
  readonly entry: Entry;
  /** Whether it comes from a snapshot, and must be validated again before it is given as validated. */
  readonly isDoubtful: boolean;
}

/** What was forgotten while a snapshot is read: it is not taken from there. */
export interface Forgotten {
  /** As for `forget`; undefined: no name. */
  readonly isForgotten: ((name: string) => boolean) | undefined;
  /** Whether negative answers were. */
  readonly hasNegative: boolean;
}

const NOTHING: Forgotten = { isForgotten: undefined, hasNegative: false };

/** Answers by question key. */
export class AnswerCache {
  private readonly ring: Ring;
  private readonly codec = new EntryCodec(new ServerLabels());
  private forgotten = 0;
  /** Whether it may have answers to questions for CNAME. */
  private mayHaveAliases = false;

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
    if (at === -1 || ageNow - codec.storedAt(ring, at) >= codec.ttlSec(ring, at) || this.isDoubtful(at)) {
      observer.cache('miss');
      return undefined;
    }
    ring.touch(at);
    const entry = codec.read(ring, at);
    observer.cache(entry.negative ? 'hit_negative' : 'hit_positive');
    return entry;
  }

  /**
   * What may be given when servers do not answer: an entry that `get` refuses, because it has expired, at most `mostSec`
   * ago, or because it comes from a snapshot and must be validated again. It borrows memory until the next `put`. That it
   * was asked for is remembered: it stays while others go.
   * @param mostSec 0: none that has expired
   */
  fallback(key: string, ageNow: AgeSec, mostSec: number): Entry | undefined {
    const found = this.known(key, ageNow, mostSec);
    if (found === undefined) return undefined;
    const { entry, isDoubtful } = found;
    return isDoubtful || ageNow - entry.storedAt >= entry.ttlSec ? entry : undefined;
  }

  /** What `get` or `fallback` have, as they have it. */
  known(key: string, ageNow: AgeSec, mostSec: number): Peeked | undefined {
    const { ring, codec } = this;
    const at = ring.find(key);
    if (at === -1) return undefined;
    const pastSec = ageNow - codec.storedAt(ring, at) - codec.ttlSec(ring, at);
    if (pastSec >= 0 && (mostSec === 0 || pastSec > mostSec)) return undefined;
    ring.touch(at);
    const entry = codec.read(ring, at);
    const isDoubtful = this.isDoubtful(at);
    return { entry: isDoubtful ? { ...entry, verdict: 'unchecked' } : entry, isDoubtful };
  }

  /** A fresh entry of a snapshot that must be validated again before it counts as validated. It borrows memory. */
  doubtful(key: string, ageNow: AgeSec): Entry | undefined {
    const { ring, codec } = this;
    const at = ring.find(key);
    if (at === -1 || !this.isDoubtful(at) || ageNow - codec.storedAt(ring, at) >= codec.ttlSec(ring, at))
      return undefined;
    return { ...codec.read(ring, at), verdict: 'unchecked' };
  }

  private isDoubtful(at: number): boolean {
    return this.ring.isMarked(at) && this.codec.verdictAt(this.ring, at) === 'secure';
  }

  /** All answers, oldest first, but those that are past their end by more than `mostSec`. */
  *blocks(ageNow: AgeSec, mostSec: number): Iterable<SnapshotBlock> {
    const { ring, codec } = this;
    let labels = new Map<number, string>();
    const isKept = (at: number): boolean => {
      if (ageNow - codec.storedAt(ring, at) - codec.ttlSec(ring, at) > mostSec) return false;
      const server = codec.serverAt(ring, at);
      if (!labels.has(server)) labels.set(server, codec.labels.labelOf(server));
      return true;
    };
    for (const octets of ring.blocks(isKept)) {
      yield { kind: 'block', answers: ring.entries, labels, octets };
      labels = new Map();
    }
  }

  /**
   * Takes answers of a snapshot, and returns how many. What has been learnt since is not replaced.
   * @param forgotten what is not taken
   * @throws SnapshotError
   */
  restore({ answers, labels, octets, shiftSec }: StoredBlock, ageNow: AgeSec, forgotten = NOTHING): number {
    const { isForgotten, hasNegative } = forgotten;
    const { ring, codec } = this;
    const servers = new Map<number, number>();
    for (const [server, label] of labels) servers.set(server, codec.labels.numberOf(label));
    const isTaken = (at: number, end: number): boolean => {
      const storedAt = ageAfter(codec.storedAt(ring, at), shiftSec);
      // Of the future: the clock was set back, and nobody knows how old it is. Written so that NaN is refused, too.
      if (!(storedAt <= ageNow) || !codec.isEntry(ring.octets, at, end)) return false;
      codec.adopt(ring, at, storedAt, servers.get(codec.serverAt(ring, at)) ?? 0);
      if (hasNegative && codec.isNegative(ring, at)) return false;
      return isForgotten === undefined || !this.isAbout(ring.keyOf(at), at, isForgotten);
    };
    ring.expect(answers);
    let taken = 0;
    for (const block of octets) {
      const added = ring.addBlock(block, isTaken);
      if (added === -1) throw malformed();
      taken += added;
      this.mayHaveAliases ||= added > 0;
    }
    return taken;
  }

  /** Stores a copy of an entry. An entry that may not be stored does not replace another one. */
  put(key: string, entry: Entry): void {
    if (entry.ttlSec === 0) return;
    this.mayHaveAliases ||= typeOfKey(key) === TYPE.CNAME;
    const at = this.ring.put(key, this.codec.bytesOf(entry));
    if (at !== -1) this.codec.write(this.ring, at, entry);
  }

  /**
   * Forgets answers about names, those that lead to them by an alias included, and returns how many.
   * @param isMeant called with each name in wire form, lower case, one character per octet
   */
  forget(isMeant: (name: string) => boolean): number {
    this.forgotten++;
    return this.ring.deleteWhere((key, at) => this.isAbout(key, at, isMeant));
  }

  /** Whether the answer at `at` is about a name that is meant, or leads to one. */
  private isAbout(key: string, at: number, isMeant: (name: string) => boolean): boolean {
    const isMeantToo = (name: Buffer): boolean => isMeant(name.toString('latin1'));
    return isMeant(nameInKey(key)) || leadsTo(this.codec.read(this.ring, at), isMeantToo);
  }

  /** Forgets the answers that a name or a type does not exist, and returns how many. */
  forgetNegative(): number {
    this.forgotten++;
    const { ring, codec } = this;
    return ring.deleteWhere((_key, at) => codec.isNegative(ring, at));
  }

  /** The entry under a key, fresh or not, without counting. It borrows memory. */
  peek(key: string): Peeked | undefined {
    const at = this.ring.find(key);
    return at === -1 ? undefined : { entry: this.codec.read(this.ring, at), isDoubtful: this.isDoubtful(at) };
  }

  /** Forgets the entry under a key if it comes from a snapshot: what it says is wrong. */
  disprove(key: string): void {
    const at = this.ring.find(key);
    if (at !== -1 && this.isDoubtful(at)) this.ring.delete(key);
  }

  clear(): void {
    this.forgotten++;
    this.mayHaveAliases = false;
    this.ring.clear();
  }

  /** Whether there may be answers to questions for CNAME: else no name needs to be looked up as an alias. */
  get hasAliases(): boolean {
    return this.mayHaveAliases;
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
