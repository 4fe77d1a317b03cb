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
import { rdataWith } from '../../wire/rdata.js';
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

/** A response, taken apart. */
export interface Shape {
  readonly end: ChainEnd;
  /** Which records belong to the answer, by number; undefined: all. */
  readonly kept: readonly boolean[] | undefined;
  /** CNAME records that a DNAME makes and that are not in the response (RFC 6672 §3.4). */
  readonly made: readonly RecordData[];
}

const POINTER_TO_QUESTION = 0xc000 | HEADER_BYTES;
const ANSWERED: ChainEnd = { at: 'answered' };
const CIRCLE: ChainEnd = { at: 'circle' };
const PLAIN: Shape = { end: ANSWERED, kept: undefined, made: [] };
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
  const seen: Buffer[] = [];
  const record = new ScannedRecords(response, questionEnd);
  let hasData = false;
  while (record.next()) {
    if (u16At(octets, record.owner) !== POINTER_TO_QUESTION || record.class !== CLASS_IN) return false;
    if (record.type === type) hasData = true;
    else if (record.type !== TYPE.RRSIG || u16At(octets, record.rdata) !== type) return false;
    const rdata = octets.subarray(record.rdata, record.end);
    for (const each of seen) if (each.equals(rdata)) return false;
    seen.push(rdata);
  }
  return hasData;
}

interface Entry {
  readonly index: number;
  readonly owner: Name;
  readonly type: number;
  /** The type that an RRSIG is about. */
  readonly covered: number;
  readonly isAnswer: boolean;
  readonly isInternet: boolean;
  readonly ttlOffset: number;
  readonly ttlSec: number;
  readonly rdata: number;
  readonly end: number;
}

/** One response, read record by record. */
class Chain {
  private readonly names: Name[] = [];
  private readonly seen = new Set<Name>();
  /** The owners of the DNAME records that were followed. */
  private readonly redirecting = new Set<Name>();
  private readonly made: RecordData[] = [];
  private end: ChainEnd = ANSWERED;
  private isMalformed = false;
  private readonly cnames = new Map<Name, Entry>();
  private readonly dnames = new Map<Name, Entry>();
  private readonly owners = new Set<Name>();
  private readonly signedCnames = new Set<Name>();

  private constructor(
    private readonly response: Response,
    private readonly type: number,
    private readonly entries: readonly Entry[],
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
    const entries: Entry[] = [];
    const record = new ScannedRecords(response, questionEnd);
    while (record.next()) {
      const { section, index } = record;
      if (section === 'additional') break;
      const owner = readCanonical(octets, record.owner)?.name;
      if (owner === undefined) return undefined;
      entries.push({
        ...{ index, owner, type: record.type, rdata: record.rdata, end: record.end },
        covered: record.type === TYPE.RRSIG && record.rdataBytes >= 2 ? u16At(octets, record.rdata) : 0,
        isAnswer: section === 'answer',
        isInternet: record.class === CLASS_IN,
        ttlOffset: record.ttlOffset,
        ttlSec: record.ttlSec,
      });
    }
    const chain = new Chain(response, type, entries);
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
      if (cname !== undefined && dname !== undefined && !this.signedCnames.has(name)) {
        this.redirecting.add(dname.owner);
        putU32(octets, cname.ttlOffset, dname.ttlSec);
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
    const target = name.slice(0, name.length - dname.owner.length) + to;
    // RFC 6672 §2.2: then the server says YXDOMAIN.
    if (target.length > MAX_NAME_BYTES) return undefined;
    this.made.push({ owner: octetsOf(name), type: TYPE.CNAME, ttlSec: dname.ttlSec, rdata: octetsOf(target) });
    return target;
  }

  private hasSoa(name: Name): boolean {
    return this.entries.some(each => !each.isAnswer && each.type === TYPE.SOA && isWithin(name, each.owner));
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
    return { end: this.end, kept: keepsAll ? undefined : kept, made: this.made };
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
      const read = readCanonical(octets, at, end);
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
