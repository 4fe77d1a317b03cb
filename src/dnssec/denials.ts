// Validated denials of zones (RFC 8198): the gaps between the names of a zone, and the wildcards that fill them. All names
// in a gap can be denied without a question. A stored record proves nothing by itself: whoever answers from it validates it
// again, with its signatures, like a record that has just come (synthesis.ts).

import { ageAfter, type AgeSec } from '../base/time.js';
import { TYPE } from '../wire/rrtype.js';
import { endsZone } from './denial.js';
import { compareNames, hasWildcardLabel, isWithin, type Name, parentOf, ROOT_NAME } from './name.js';
import { readNsec } from './nsec.js';
import { type HashParameters, readNsec3 } from './nsec3.js';
import { type RRset, signatureFrom, type SignedSection } from './rrset.js';
import type { ProvenSet } from './validate.js';

/** The octets of a set beside its data, about: objects, strings, and its places in the tables. */
const SET_BYTES = 680;
/** A larger set is not stored: it would push out many others. */
const LARGEST_BYTES = 8192;
/** The most gaps of one zone. To insert one moves those behind it, which takes microseconds for so many. */
const MOST_GAPS = 1 << 14;
/** For longer, nothing is stored, whatever its TTL. */
const MOST_SEC = 86_400;

/** Where a set stands in the table. */
interface Place {
  /** The owner in the zone. */
  readonly owner: Name;
  /** A gap is found by where it starts, and all else by a name of its own. */
  readonly key: string;
  /** Where the gap ends; undefined: it is no denial. */
  readonly next?: string;
  /** It denies nothing below its owner: there is a zone cut, or a DNAME (RFC 6840 §4.1). */
  readonly endsZone?: boolean;
  readonly until: AgeSec;
}

/** One RRset with its signatures. Strings have one octet per character: a Buffer would keep a whole message alive. */
export class StoredSet {
  readonly type: number;
  readonly bytes: number;
  private readonly rdata: readonly string[];
  private readonly signatures: readonly string[];

  constructor(
    { type, rdata, signatures }: RRset,
    readonly zone: ZoneDenials,
    readonly place: Place,
  ) {
    this.type = type;
    this.rdata = rdata.map(each => each.toString('latin1'));
    this.signatures = signatures
      .filter(({ signer }) => signer === zone.name)
      .map(({ head, octets }) => head.toString('latin1') + octets.toString('latin1'));
    const { owner, key, next = '' } = place;
    this.bytes = [...this.rdata, ...this.signatures, owner, key, next].reduce(
      (sum, { length }) => sum + length,
      SET_BYTES,
    );
  }

  /** The RRset as it is at a time, its records not yet numbered. @param owner a name that its wildcard answers for */
  at(ageNow: AgeSec, section: SignedSection, owner = this.place.owner): RRset {
    const ttlSec = Math.floor(this.place.until - ageNow);
    return {
      ...{ owner, type: this.type, section, ttlSec },
      rdata: this.rdata.map(each => Buffer.from(each, 'latin1')),
      signatures: this.signatures.flatMap(each => signatureFrom(Buffer.from(each, 'latin1'), ttlSec) ?? []),
      records: [],
    };
  }
}

/** Gaps in the order of their starts; no two of them overlap. */
export class Gaps {
  private sorted: StoredSet[] = [];

  constructor(private readonly compare: (a: string, b: string) => number) {}

  get entries(): number {
    return this.sorted.length;
  }

  /** The gap that starts at a key, or else the one that it is in. */
  find(key: string): StoredSet | undefined {
    const at = this.startOf(key);
    const own = this.sorted[at];
    if (own?.place.key === key) return own;
    // Around the end of the zone, the last gap leads to the first name.
    const before = this.sorted.at(at - 1);
    return before !== undefined && this.covers(before, key) ? before : undefined;
  }

  /** Whether no gap overlaps a place. */
  isFree({ key, next = key }: Pick<Place, 'key' | 'next'>): boolean {
    const start = this.startOf(key);
    const end = this.startOf(next);
    const starts = this.compare(key, next) < 0 ? end - start : this.entries - start + end;
    return starts === 0 && this.find(key) === undefined;
  }

  /** Adds a gap. Returns those that it contradicts, which are removed: what comes later is newer. */
  put(gap: StoredSet): readonly StoredSet[] {
    const { key, next = key } = gap.place;
    const old = this.find(key);
    const removed = old === undefined ? [] : this.cut(this.startOf(old.place.key), 1);
    const start = this.startOf(key);
    if (this.compare(key, next) < 0) removed.push(...this.cut(start, this.startOf(next) - start));
    else removed.push(...this.cut(start, this.entries), ...this.cut(0, this.startOf(next)));
    this.sorted.splice(this.startOf(key), 0, gap);
    return removed;
  }

  delete(gap: StoredSet): void {
    const at = this.startOf(gap.place.key);
    if (this.sorted[at] === gap) this.sorted.splice(at, 1);
  }

  /** The gap behind a key, around the end. */
  behind(key: string): StoredSet | undefined {
    return this.sorted[this.startOf(key) + 1] ?? this.sorted[0];
  }

  /** Removes all gaps, and returns them. */
  clear(): readonly StoredSet[] {
    return this.cut(0, this.entries);
  }

  private cut(start: number, count: number): StoredSet[] {
    return this.sorted.splice(start, count);
  }

  private covers({ place: { key, next = key } }: StoredSet, wanted: string): boolean {
    const { compare } = this;
    const isBehind = compare(key, wanted) < 0;
    const isBefore = compare(wanted, next) < 0;
    return compare(key, next) < 0 ? isBehind && isBefore : isBehind || isBefore;
  }

  /** How many start before a key. */
  private startOf(key: string): number {
    let low = 0;
    let high = this.sorted.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.compare(this.sorted[middle]?.place.key ?? '', key) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

const compareHashes = (a: string, b: string): number => (a === b ? 0 : a < b ? -1 : 1);
const dataKey = (owner: Name, type: number): string => `${type} ${owner}`;

/** What is known of one zone. */
export class ZoneDenials {
  readonly plain = new Gaps(compareNames);
  readonly hashed = new Gaps(compareHashes);
  /** How the names of `hashed` are hashed. */
  parameters: HashParameters | undefined = undefined;
  /** The SOA, and for how long it says that a denial holds. */
  soa: StoredSet | undefined = undefined;
  minimumSec = Infinity;
  /** The data of wildcards. */
  readonly data = new Map<string, StoredSet>();

  constructor(readonly name: Name) {}

  /** The NSEC record of a name, or that of the gap that it is in. */
  plainAt(name: Name): StoredSet | undefined {
    const found = this.plain.find(name);
    if (found === undefined || found.place.endsZone !== true || found.place.owner === name) return found;
    return isWithin(name, found.place.owner) ? undefined : found;
  }

  /** Whether it may say something about a name. Where names are hashed or wildcards are known, only more work shows that. */
  maySayAbout(name: Name): boolean {
    return this.data.size > 0 || this.hashed.entries > 0 || this.plainAt(name) !== undefined;
  }

  /** The data of a wildcard. */
  wildcard(owner: Name, type: number): StoredSet | undefined {
    return this.data.get(dataKey(owner, type));
  }

  get denies(): boolean {
    return this.plain.entries + this.hashed.entries > 0;
  }

  get isEmpty(): boolean {
    return !this.denies && this.soa === undefined && this.data.size === 0;
  }

  delete(set: StoredSet): void {
    const { key, next } = set.place;
    if (next !== undefined) (set.type === TYPE.NSEC ? this.plain : this.hashed).delete(set);
    else if (set === this.soa) this.soa = undefined;
    else if (this.data.get(key) === set) this.data.delete(key);
  }
}

/** The table. */
export class Denials {
  private readonly zones = new Map<Name, ZoneDenials>();
  /** All sets, those first that were used the longest time ago. */
  private readonly all = new Set<StoredSet>();
  private used = 0;

  /** @param most the size of the table, in octets */
  constructor(private readonly most: number) {}

  /** How many RRsets there are. */
  get entries(): number {
    return this.all.size;
  }

  /** What all of them count for. */
  get bytes(): number {
    return this.used;
  }

  /** The nearest zone with denials that a type of a name may be in. A DS belongs to the zone above (RFC 4035 §5.2). */
  zoneOf(name: Name, type: number): ZoneDenials | undefined {
    if (this.zones.size === 0) return undefined;
    for (let each = type === TYPE.DS ? parentOf(name) : name; ; each = parentOf(each)) {
      const zone = this.zones.get(each);
      if (zone?.denies === true) return zone;
      if (each === ROOT_NAME) return undefined;
    }
  }

  /** All sets, those first that were used the longest time ago. Later changes do not affect the list. */
  get sets(): readonly StoredSet[] {
    return [...this.all];
  }

  /** Stores what a secure answer proves. Nothing lives longer than its TTL, its signatures, and the SOA allow. */
  learn(proven: readonly ProvenSet[], ageNow: AgeSec): void {
    for (const each of proven) if (each.set.type === TYPE.SOA && each.owner === each.zone) this.learnSoa(each, ageNow);
    for (const each of proven) {
      const { type } = each.set;
      if (each.owner !== each.set.owner) this.learnWildcard(each, ageNow);
      else if (type === TYPE.NSEC) this.learnNsec(each, ageNow);
      else if (type === TYPE.NSEC3) this.learnNsec3(each, ageNow);
    }
  }

  /**
   * Takes a set that was stored in an earlier process, unless something was learnt in its place since. Nobody need have
   * validated it: it proves nothing by itself.
   */
  restore(zone: Name, set: RRset, ttlSec: number, ageNow: AgeSec): void {
    const { owner, type } = set;
    const each: ProvenSet = { zone, set, owner, ttlSec };
    const known = this.zones.get(zone);
    if (type === TYPE.NSEC) this.learnNsec(each, ageNow, true);
    else if (type === TYPE.NSEC3) this.learnNsec3(each, ageNow, true);
    else if (type === TYPE.SOA && owner === zone && known?.soa === undefined) this.learnSoa(each, ageNow);
    else if (hasWildcardLabel(owner) && isWithin(owner, zone) && known?.wildcard(owner, type) === undefined)
      this.learnWildcard(each, ageNow);
  }

  /** The set, if it is still valid. It counts as used. */
  fresh(set: StoredSet | undefined, ageNow: AgeSec): StoredSet | undefined {
    // What was forgotten meanwhile is not here any more.
    if (set === undefined || !this.all.has(set)) return undefined;
    if (ageNow + 1 > set.place.until) {
      this.remove(set);
      return undefined;
    }
    this.all.delete(set);
    this.all.add(set);
    return set;
  }

  /** Forgets everything: a name may be in any gap. */
  clear(): void {
    this.zones.clear();
    this.all.clear();
    this.used = 0;
  }

  private zoneNamed(name: Name): ZoneDenials {
    return this.zones.get(name) ?? new ZoneDenials(name);
  }

  private learnSoa({ zone: name, set, ttlSec }: ProvenSet, ageNow: AgeSec): void {
    const [rdata] = set.rdata;
    if (rdata === undefined || rdata.length < 4) return;
    const zone = this.zoneNamed(name);
    const old = zone.soa;
    // RFC 2308 §5: the lower one of TTL and MINIMUM.
    zone.minimumSec = Math.min(ttlSec, rdata.readUInt32BE(rdata.length - 4));
    const place = { owner: name, key: 'SOA', until: until(ageNow, ttlSec, zone.minimumSec) };
    zone.soa = new StoredSet(set, zone, place);
    this.store(zone.soa, old);
  }

  private learnNsec({ zone: name, set, ttlSec }: ProvenSet, ageNow: AgeSec, isOld = false): void {
    const read = readNsec(set, name);
    // Only the last name of a zone is followed by one before it.
    if (read === undefined || (read.next !== name && compareNames(read.owner, read.next) >= 0)) return;
    const zone = this.zoneNamed(name);
    const { owner, next, types } = read;
    const place = { owner, key: owner, next, endsZone: endsZone(types) };
    if (isOld && !zone.plain.isFree(place)) return;
    this.putGap(zone.plain, new StoredSet(set, zone, { ...place, until: until(ageNow, ttlSec, zone.minimumSec) }));
  }

  private learnNsec3({ zone: name, set, ttlSec }: ProvenSet, ageNow: AgeSec, isOld = false): void {
    const read = readNsec3(set, name);
    if (read === undefined) return;
    const zone = this.zoneNamed(name);
    const { owner: key, next, iterations, salt, parameters } = read;
    if (zone.parameters?.parameters !== parameters) {
      if (isOld && zone.hashed.entries > 0) return;
      // The zone has changed its salt: hashes of before cannot be compared with those of now.
      for (const each of zone.hashed.clear()) this.remove(each);
      zone.parameters = { iterations, salt: Buffer.from(salt), parameters };
    }
    const place = { owner: set.owner, key, next, until: until(ageNow, ttlSec, zone.minimumSec) };
    if (isOld && !zone.hashed.isFree(place)) return;
    this.putGap(zone.hashed, new StoredSet(set, zone, place));
  }

  private learnWildcard({ zone: name, set, owner, ttlSec }: ProvenSet, ageNow: AgeSec): void {
    // What these types mean at a wildcard is not defined (RFC 4592 §4.2, §4.4).
    if (set.type === TYPE.NS || set.type === TYPE.DNAME) return;
    const zone = this.zoneNamed(name);
    const key = dataKey(owner, set.type);
    const old = zone.data.get(key);
    const stored = new StoredSet(set, zone, { owner, key, until: until(ageNow, ttlSec, Infinity) });
    zone.data.set(key, stored);
    this.store(stored, old);
  }

  private putGap(gaps: Gaps, gap: StoredSet): void {
    const removed = gaps.put(gap);
    this.store(gap, ...removed);
    const surplus = gaps.entries > MOST_GAPS ? gaps.behind(gap.place.key) : undefined;
    if (surplus !== undefined) this.remove(surplus);
  }

  /** Takes a set into the table that its zone has already. @param replaced those that it replaces there */
  private store(set: StoredSet, ...replaced: readonly (StoredSet | undefined)[]): void {
    this.zones.set(set.zone.name, set.zone);
    this.all.add(set);
    this.used += set.bytes;
    for (const each of replaced) if (each !== undefined) this.remove(each);
    if (set.bytes > LARGEST_BYTES) return this.remove(set);
    for (const oldest of this.all) {
      if (this.used <= this.most) break;
      this.remove(oldest);
    }
  }

  private remove(set: StoredSet): void {
    if (!this.all.delete(set)) return;
    this.used -= set.bytes;
    const { zone } = set;
    zone.delete(set);
    if (zone.isEmpty) this.zones.delete(zone.name);
  }
}

const until = (ageNow: AgeSec, ttlSec: number, minimumSec: number): AgeSec =>
  ageAfter(ageNow, Math.min(ttlSec, minimumSec, MOST_SEC));
