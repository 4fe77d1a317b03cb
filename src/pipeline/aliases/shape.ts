// What a response says about its question (RFC 1034 §5.3.3): the chain of aliases from the question's name on, what stands
// at its end, and which records belong to that. All others are strangers: nobody asked for them, so they are neither
// relayed nor kept (RFC 2181 §5.4.1).

import { putU32, u16At } from '../../base/octets.js';
import { RCODE } from '../../base/outcome.js';
import { isWithin, type Name, octetsOf, parentOf, readCanonical, ROOT_NAME } from '../../dnssec/name.js';
import { MOST_ALIASES } from '../../dnssec/validate.js';
import type { RecordData } from '../../wire/compose.js';
import { HEADER_BYTES } from '../../wire/header.js';
import { MAX_NAME_BYTES } from '../../wire/name.js';
import { partsOf, rdataWith } from '../../wire/rdata.js';
import { type ScannedMessage, ScannedRecords } from '../../wire/records.js';
import { CLASS_IN, TYPE } from '../../wire/rrtype.js';

/** The facts about a response that are looked at. */
export interface Response extends ScannedMessage {
  readonly rcode: number;
  readonly questionEnd: number;
}

/** What stands at the end of the chain. */
export type ChainEnd =
  /** The data, or the statement that there is none. */
  | { readonly at: 'answered' }
  /** An alias whose target the server has not followed. */
  | { readonly at: 'alias'; readonly target: Name }
  /** The aliases lead in a circle, or are too many. */
  | { readonly at: 'circle' };

/** A CNAME that a DNAME makes. */
export interface MadeRecord extends RecordData {
  /** The number of the DNAME. Clients that read from the front need the CNAME before what it leads to. */
  readonly after: number;
}

/** A response, taken apart. */
export interface Shape {
  readonly end: ChainEnd;
  /** Which records belong to the answer, by number; undefined: all. */
  readonly kept: readonly boolean[] | undefined;
  /** CNAME records that a DNAME makes and that are not in the response (RFC 6672 §3.4). */
  readonly made: readonly MadeRecord[];
  /** Whether the TTL of a CNAME was changed. */
  readonly retimed: boolean;
}

const POINTER_TO_QUESTION = 0xc000 | HEADER_BYTES;
const ANSWERED: ChainEnd = { at: 'answered' };
const CIRCLE: ChainEnd = { at: 'circle' };
const PLAIN: Shape = { end: ANSWERED, kept: undefined, made: [], retimed: false };
/** With more records, a table finds duplicates. */
const FEW_RECORDS = 8;

/**
 * Looks at a response. The TTL of a CNAME that a DNAME makes becomes that of the DNAME (RFC 6672 §3.1), in place.
 * @param type the QTYPE
 * @returns undefined: a name or RDATA is malformed
 */
export function shapeOf(response: Response, type: number): Shape | undefined {
  return isPlain(response, type) ? PLAIN : Chain.read(response, type)?.shape;
}

/** Whether there are only records of the question's name and type, and their signatures. Most answers are like that. */
function isPlain(response: Response, type: number): boolean {
  const { octets, answers, ttlOffsets, rcode, questionEnd } = response;
  if (ttlOffsets.length !== answers || answers === 0 || answers > FEW_RECORDS || rcode !== RCODE.NOERROR) return false;
  // The same name may be written in several ways.
  if (answers > 1 && partsOf(type).length > 0) return false;
  const record = new ScannedRecords(response, questionEnd);
  let hasData = false;
  let signatures = 0;
  while (record.next()) {
    if (u16At(octets, record.owner) !== POINTER_TO_QUESTION || record.class !== CLASS_IN) return false;
    if (record.type === type) hasData = true;
    else if (record.type === TYPE.RRSIG && u16At(octets, record.rdata) === type) signatures++;
    else return false;
  }
  // Most answers have one record of a type, which is like no other.
  return hasData && ((answers - signatures <= 1 && signatures <= 1) || areDistinct(response));
}

/** Whether a few records all have other RDATA. */
function areDistinct(response: Response): boolean {
  const { octets, questionEnd } = response;
  const seen: Buffer[] = [];
  const record = new ScannedRecords(response, questionEnd);
  while (record.next()) {
    const rdata = octets.subarray(record.rdata, record.end);
    for (const each of seen) if (each.equals(rdata)) return false;
    seen.push(rdata);
  }
  return true;
}

/** One record. A constructor, and no literal: there may be thousands. */
class Entry {
  constructor(
    readonly index: number,
    readonly owner: Name,
    readonly type: number,
    /** The type that an RRSIG is about. */
    readonly covered: number,
    readonly isAnswer: boolean,
    readonly isInternet: boolean,
    readonly ttlOffset: number,
    readonly ttlSec: number,
    readonly rdata: number,
    readonly end: number,
  ) {}
}

const POINTER_BITS = 0xc0;

/** Reads names. One that is only a pointer is read once for all places with the same pointer, which may be thousands. */
class NameReader {
  private readonly pointed = new Map<number, Name>();

  constructor(private readonly octets: Buffer) {}

  /** The name at `at`, as `readCanonical` reads it; undefined: it is malformed, or goes on beyond `limit`. */
  read(at: number, limit: number): { readonly name: Name; readonly end: number } | undefined {
    const { octets, pointed } = this;
    if ((octets[at] ?? 0) < POINTER_BITS) return readCanonical(octets, at, limit);
    // A pointer may lead to any octet before it, and a name that was read from behind it to all of these.
    const pointer = u16At(octets, at);
    const known = at + 2 > limit ? undefined : pointed.get(pointer);
    if (known !== undefined && (pointer & 0x3fff) < at) return { name: known, end: at + 2 };
    const read = readCanonical(octets, at, limit);
    if (read !== undefined) pointed.set(pointer, read.name);
    return read;
  }
}

/** RFC 6672 §2.2 */
const redirectedName = (name: Name, owner: Name, to: Name): Name => name.slice(0, name.length - owner.length) + to;

/** One response, read record by record. */
class Chain {
  private readonly names: Name[] = [];
  private readonly seen = new Set<Name>();
  /** The owners of the DNAME records that were followed. */
  private readonly redirecting = new Set<Name>();
  private readonly made: MadeRecord[] = [];
  private end: ChainEnd = ANSWERED;
  private isMalformed = false;
  private retimed = false;
  private readonly cnames = new Map<Name, Entry>();
  private readonly dnames = new Map<Name, Entry>();
  private readonly owners = new Set<Name>();
  private readonly signedCnames = new Set<Name>();

  private constructor(
    private readonly response: Response,
    private readonly type: number,
    private readonly entries: readonly Entry[],
    private readonly reader: NameReader,
  ) {
    for (const each of entries) {
      if (!each.isAnswer || !each.isInternet) continue;
      if (each.type === type) this.owners.add(each.owner);
      if (each.type === TYPE.CNAME && !this.cnames.has(each.owner)) this.cnames.set(each.owner, each);
      if (each.type === TYPE.DNAME && !this.dnames.has(each.owner)) this.dnames.set(each.owner, each);
      if (each.type === TYPE.RRSIG && each.covered === TYPE.CNAME) this.signedCnames.add(each.owner);
    }
  }

  static read(response: Response, type: number): Chain | undefined {
    const { octets, questionEnd } = response;
    const names = new NameReader(octets);
    const entries: Entry[] = [];
    const record = new ScannedRecords(response, questionEnd);
    while (record.next()) {
      const { section, index } = record;
      if (section === 'additional') break;
      const owner = names.read(record.owner, octets.length)?.name;
      if (owner === undefined) return undefined;
      const { type: recordType, rdata, end, ttlOffset, ttlSec } = record;
      const covered = recordType === TYPE.RRSIG && end - rdata >= 2 ? u16At(octets, rdata) : 0;
      const isInternet = record.class === CLASS_IN;
      entries.push(
        new Entry(index, owner, recordType, covered, section === 'answer', isInternet, ttlOffset, ttlSec, rdata, end),
      );
    }
    const chain = new Chain(response, type, entries, names);
    return chain.follow() ? chain : undefined;
  }

  /** Follows the aliases; false: one of them is malformed. */
  private follow(): boolean {
    const { octets, rcode } = this.response;
    let name = readCanonical(octets, HEADER_BYTES)?.name;
    while (name !== undefined) {
      if (this.seen.has(name) || this.names.length > MOST_ALIASES) {
        this.end = CIRCLE;
        return true;
      }
      this.names.push(name);
      this.seen.add(name);
      const cname = this.cnames.get(name);
      const dname = this.dnameAbove(name);
      if (cname !== undefined && dname !== undefined && this.makes(dname, name, cname)) {
        this.redirecting.add(dname.owner);
        putU32(octets, cname.ttlOffset, dname.ttlSec);
        this.retimed ||= cname.ttlSec !== dname.ttlSec;
      }
      if (this.owners.has(name)) return true;
      const next = cname === undefined ? dname && this.redirected(name, dname) : this.targetOf(cname);
      if (this.isMalformed) return false;
      if (next === undefined) {
        // Without a SOA, a server that has not followed the alias says the same as one that knows of no data.
        if (this.names.length > 1 && rcode === RCODE.NOERROR && !this.hasSoa(name))
          this.end = { at: 'alias', target: name };
        return true;
      }
      if (this.type === TYPE.CNAME) return true;
      name = next;
    }
    return false;
  }

  private dnameAbove(name: Name): Entry | undefined {
    if (this.dnames.size === 0) return undefined;
    for (let each = name; each !== ROOT_NAME;) {
      each = parentOf(each);
      const found = this.dnames.get(each);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  /** Whether a CNAME is the one that a DNAME makes. One with a signature of its own is not. */
  private makes(dname: Entry, name: Name, cname: Entry): boolean {
    if (this.signedCnames.has(name)) return false;
    const to = this.reader.read(dname.rdata, dname.end)?.name;
    const target = this.reader.read(cname.rdata, cname.end)?.name;
    return to !== undefined && target === redirectedName(name, dname.owner, to);
  }

  private targetOf({ rdata, end }: Entry): Name | undefined {
    const target = readCanonical(this.response.octets, rdata, end)?.name;
    if (target === undefined) this.isMalformed = true;
    return target;
  }

  /** The name that a DNAME makes of a name below it. Notes the CNAME that says so. */
  private redirected(name: Name, dname: Entry): Name | undefined {
    const to = this.targetOf(dname);
    if (to === undefined) return undefined;
    this.redirecting.add(dname.owner);
    const target = redirectedName(name, dname.owner, to);
    // RFC 6672 §2.2: then the server says YXDOMAIN.
    if (target.length > MAX_NAME_BYTES) return undefined;
    const { index: after, ttlSec } = dname;
    this.made.push({ owner: octetsOf(name), type: TYPE.CNAME, ttlSec, rdata: octetsOf(target), after });
    return target;
  }

  private hasSoa(name: Name): boolean {
    return this.entries.some(
      each => !each.isAnswer && each.isInternet && each.type === TYPE.SOA && isWithin(name, each.owner),
    );
  }

  get shape(): Shape | undefined {
    const kept = new Array<boolean>(this.response.ttlOffsets.length).fill(false);
    const last = this.names.at(-1) ?? ROOT_NAME;
    const isData = this.owners.has(last);
    const seen = new Set<string>();
    let keepsAll = true;
    for (const each of this.entries) {
      const belongs =
        each.isInternet && (each.isAnswer ? this.belongs(each, last) : speaks(each, isData ? undefined : last));
      if (belongs) {
        const key = this.keyOf(each);
        if (key === undefined) return undefined;
        // RFC 2181 §5: the same record twice is one record.
        kept[each.index] = !seen.has(key);
        seen.add(key);
      }
      keepsAll &&= kept[each.index] === true;
    }
    keepsAll &&= this.entries.length === kept.length;
    return { end: this.end, kept: keepsAll ? undefined : kept, made: this.made, retimed: this.retimed };
  }

  private belongs({ owner, type, covered }: Entry, last: Name): boolean {
    const about = type === TYPE.RRSIG && this.type !== TYPE.RRSIG ? covered : type;
    if (about === TYPE.DNAME && this.redirecting.has(owner)) return true;
    if (!this.seen.has(owner)) return false;
    if (owner === last && about === this.type) return true;
    return about === TYPE.CNAME && (owner !== last || this.end.at === 'circle');
  }

  private keyOf({ owner, type, rdata, end, isAnswer }: Entry): string | undefined {
    const { octets } = this.response;
    const canonical = rdataWith(octets, rdata, end, type, at => {
      const read = this.reader.read(at, end);
      return read && { octets: octetsOf(read.name), end: read.end };
    });
    return canonical && `${isAnswer ? 1 : 0} ${type} ${canonical.toString('latin1')} ${owner}`;
  }
}

/**
 * Whether a record of the authority section belongs to an answer: the proofs of DNSSEC, and the SOA of a denial.
 * @param denied the name that has no data; undefined: there is data
 */
function speaks({ owner, type, covered }: Entry, denied: Name | undefined): boolean {
  const about = type === TYPE.RRSIG ? covered : type;
  if (about === TYPE.NSEC || about === TYPE.NSEC3) return true;
  return about === TYPE.SOA && denied !== undefined && isWithin(denied, owner);
}
