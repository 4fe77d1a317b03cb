// The table of local names: records of the configuration, names of hosts files and of leases, with the PTR records made
// from them, and own zones. It is filled once, and replaced as a whole. Pure.

import { addressText } from '../../base/address.js';
import { RCODE } from '../../base/outcome.js';
import type { WallSec } from '../../base/time.js';
import type { RecordData } from '../../wire/compose.js';
import { lowerCased, nameFromText } from '../../wire/name.js';
import { soaRecord } from '../../wire/reply.js';
import { TYPE } from '../../wire/rrtype.js';
import type { NameText } from '../special-names.js';

/** The most names, those above others included. A hosts file with more is a list. */
export const MOST_NAMES = 1 << 18;
/** The most records of one name. */
export const MOST_RECORDS_OF_NAME = 64;
/** The longest chain of aliases in the table. */
const MOST_ALIASES = 8;
/** The TTL of names of hosts files and leases, and of denials in own zones, seconds. A device may get its name any time. */
export const LOCAL_TTL_SEC = 60;

/** Where a name is from. Addresses of a name are those of the first of these that has any. */
export type LocalSource = 'records' | 'hosts' | 'leases';

interface LocalRecord {
  readonly type: number;
  readonly ttlSec: number;
  readonly rdata: Buffer;
  readonly source: LocalSource;
  /** When its lease ends; undefined: it has no end. */
  readonly until: WallSec | undefined;
}

interface Node {
  readonly records: LocalRecord[];
  /** Whether there are names below it, so that it exists without records (RFC 8020 §2). */
  hasBelow: boolean;
}

/** A question to the table. */
export interface LocalQuestion {
  readonly name: NameText;
  readonly type: number;
  readonly wallNow: WallSec;
  /** A zone around the name, beside own zones, whose other names do not exist; undefined: none. */
  readonly zone: NameText | undefined;
  /** How many octets the closest zone of a route has that a name is in; 0: it is in none. The longest zone wins. */
  readonly routeBytes: (name: NameText) => number;
}

/** What the table answers. */
export type LocalAnswer =
  /** @param target the last alias leads there, and the table does not have it; undefined: the answer is whole */
  | {
      readonly at: 'records';
      readonly answer: readonly RecordData[];
      readonly target: NameText | undefined;
      readonly ttlSec: number;
    }
  /** There is no such name, or no such data. @param answer aliases that lead to the name */
  | {
      readonly at: 'denial';
      readonly answer: readonly RecordData[];
      readonly rcode: number;
      readonly zone: NameText;
      readonly ttlSec: number;
    }
  | { readonly at: 'circle' };

const ASTERISK = '\x01*';
/** Types by which clients find addresses: where a file gives a name other addresses, outside ones must not get in. */
const ADDRESS_TYPES: ReadonlySet<number> = new Set([TYPE.A, TYPE.AAAA, TYPE.HTTPS, TYPE.SVCB]);

const octetsOf = (name: NameText): Buffer => Buffer.from(name, 'latin1');
const parentOf = (name: NameText): NameText => name.slice(name.charCodeAt(0) + 1);
const ROOT = '\0';

/** The name whose PTR record names an address (RFC 1035 §3.5, RFC 3596 §2.5). */
export function reverseName(address: Buffer): NameText {
  const labels =
    address.length === 4
      ? `${[...address].reverse().join('.')}.in-addr.arpa`
      : `${Array.from(address.toString('hex')).reverse().join('.')}.ip6.arpa`;
  const name = nameFromText(labels);
  if (name === undefined) throw new TypeError(`no reverse name of ${addressText(address, 0, 4)}`);
  return name.toString('latin1');
}

/** The table. */
export class LocalTable {
  private readonly nodes = new Map<NameText, Node>();
  private wildcards = 0;
  /** Names with records, PTR records not counted. */
  private named = 0;

  /** @param ownZones zones that are answered only from here */
  constructor(private readonly ownZones: readonly NameText[] = []) {}

  /** How many names have records; those of PTR records are not counted. */
  get names(): number {
    return this.named;
  }

  /** Whether there is nothing in it, so that no name need be looked up. */
  get isEmpty(): boolean {
    return this.nodes.size === 0 && this.ownZones.length === 0;
  }

  /**
   * Adds a record of the configuration.
   * @returns what is wrong with it beside the others; undefined: nothing
   */
  addRecord({ owner, type, ttlSec, rdata }: RecordData): string | undefined {
    const name = owner.toString('latin1');
    if (name === ROOT || name === ASTERISK + ROOT) return 'the root, and a wildcard of it, cannot be local names';
    const node = this.node(name);
    if (node === undefined) return `there are more than ${MOST_NAMES} local names`;
    const isAlias = node.records.some(each => each.type === TYPE.CNAME);
    if (isAlias || (type === TYPE.CNAME && node.records.length > 0))
      return 'an alias (CNAME) must be the only record of its name (RFC 1034 §3.6.2)';
    if (node.records.length >= MOST_RECORDS_OF_NAME) return `the name has more than ${MOST_RECORDS_OF_NAME} records`;
    this.put(node, { type, ttlSec, rdata, source: 'records', until: undefined });
    if ((type === TYPE.A || type === TYPE.AAAA) && !name.startsWith(ASTERISK))
      this.addPointer(rdata, name, { ttlSec, source: 'records', until: undefined });
    return undefined;
  }

  /**
   * Adds an address of a hosts file or of a lease.
   * @param names the first one is the name of the address
   * @returns false: there are too many names
   */
  addHost(
    address: Buffer,
    names: readonly NameText[],
    source: Exclude<LocalSource, 'records'>,
    until?: WallSec,
  ): boolean {
    const type = address.length === 4 ? TYPE.A : TYPE.AAAA;
    for (const name of names) {
      const node = this.node(name);
      if (node === undefined) return false;
      if (node.records.some(each => isAddress(each) && each.source !== source)) continue;
      this.put(node, { type, ttlSec: LOCAL_TTL_SEC, rdata: address, source, until });
    }
    const [first] = names;
    // Such lines block names.
    if (first === undefined || address.every(octet => octet === 0)) return true;
    return this.addPointer(address, first, { ttlSec: LOCAL_TTL_SEC, source, until });
  }

  /** Whether the table answers questions about a name, at least of one type. */
  has(name: NameText, wallNow: WallSec): boolean {
    const node = this.nodes.get(name);
    if (node !== undefined && exists(node, wallNow)) return true;
    return this.wildcardOf(name, wallNow) !== undefined || this.ownZoneOf(name) !== undefined;
  }

  /** The answer to a question; undefined: it is none of the table's business. */
  find(question: LocalQuestion): LocalAnswer | undefined {
    const { type, wallNow } = question;
    const answer: RecordData[] = [];
    let ttlSec = Infinity;
    for (let name = question.name; answer.length <= MOST_ALIASES;) {
      const step = this.step(name, question);
      if (step === undefined) return answer.length === 0 ? undefined : { at: 'records', answer, target: name, ttlSec };
      if (step.at === 'denial') return { ...step, answer, ttlSec: Math.min(ttlSec, LOCAL_TTL_SEC) };
      for (const each of step.records) {
        const left = each.until === undefined ? Infinity : Math.ceil(each.until - wallNow);
        const record = { ...each, owner: octetsOf(name), ttlSec: Math.max(1, Math.min(each.ttlSec, left)) };
        answer.push(record);
        ttlSec = Math.min(ttlSec, record.ttlSec);
      }
      const [first] = step.records;
      if (first?.type !== TYPE.CNAME || type === TYPE.CNAME)
        return { at: 'records', answer, target: undefined, ttlSec };
      name = lower(first.rdata);
    }
    return { at: 'circle' };
  }

  /** One name of a chain of aliases: its records of the type, or its alias. */
  private step(name: NameText, question: LocalQuestion): Step | undefined {
    const { type, wallNow } = question;
    const zone = this.zoneAround(name, question);
    const own = this.nodes.get(name);
    const isThere = own !== undefined && exists(own, wallNow);
    const node = isThere ? own : this.wildcardOf(name, wallNow);
    if (node === undefined)
      return zone === undefined || zone === name
        ? this.ofApex(name, zone, type)
        : { at: 'denial', rcode: RCODE.NXDOMAIN, zone };
    const live = node.records.filter(each => isLive(each, wallNow));
    const wanted = live.filter(each => each.type === type);
    const records = wanted.length > 0 ? wanted : live.filter(each => each.type === TYPE.CNAME);
    if (records.length > 0) return { at: 'records', records };
    if (zone !== undefined) return this.ofApex(name, zone, type);
    const isWhole =
      live.some(each => each.source === 'records' && each.type !== TYPE.PTR) ||
      (live.length > 0 && isSingleLabel(name));
    const isShadowed = ADDRESS_TYPES.has(type) && live.some(isAddress);
    return isWhole || isShadowed ? { at: 'denial', rcode: RCODE.NOERROR, zone: name } : undefined;
  }

  /** RFC 6303 §3: a zone has a SOA record, and an NS record that names itself. Everything else it does not have. */
  private ofApex(name: NameText, zone: NameText | undefined, type: number): Step | undefined {
    if (zone === undefined) return undefined;
    const isApex = name === zone;
    const common = { ttlSec: LOCAL_TTL_SEC, source: 'records', until: undefined } as const;
    if (isApex && type === TYPE.NS) return { at: 'records', records: [{ ...common, type, rdata: octetsOf(zone) }] };
    if (isApex && type === TYPE.SOA) {
      const { rdata } = soaRecord(octetsOf(zone), LOCAL_TTL_SEC);
      return { at: 'records', records: [{ ...common, type, rdata }] };
    }
    return { at: 'denial', rcode: RCODE.NOERROR, zone };
  }

  /** The zone around a name whose other names do not exist. A route with a longer zone comes first. */
  private zoneAround(name: NameText, { name: asked, zone: given, routeBytes }: LocalQuestion): NameText | undefined {
    const zone = this.ownZoneOf(name) ?? (name === asked ? given : undefined);
    return zone !== undefined && routeBytes(name) <= zone.length ? zone : undefined;
  }

  /** The longest own zone that a name is in. */
  private ownZoneOf(name: NameText): NameText | undefined {
    if (this.ownZones.length === 0) return undefined;
    for (let at = name; at !== ROOT; at = parentOf(at)) if (this.ownZones.includes(at)) return at;
    return undefined;
  }

  /** The wildcard that answers for a name: that of its closest encloser (RFC 4592 §3.3.1). */
  private wildcardOf(name: NameText, wallNow: WallSec): Node | undefined {
    if (this.wildcards === 0) return undefined;
    for (let at = name; at !== ROOT;) {
      at = parentOf(at);
      const node = this.nodes.get(at);
      if (node === undefined || !exists(node, wallNow)) continue;
      return this.nodes.get(ASTERISK + at);
    }
    return undefined;
  }

  private addPointer(
    address: Buffer,
    name: NameText,
    common: Pick<LocalRecord, 'ttlSec' | 'source' | 'until'>,
  ): boolean {
    const node = this.node(reverseName(address));
    if (node === undefined) return false;
    const made = node.records.filter(each => each.type === TYPE.PTR);
    // The first name of an address is its name.
    if (made.length === 0) this.put(node, { ...common, type: TYPE.PTR, rdata: octetsOf(name) });
    return true;
  }

  private put(node: Node, record: LocalRecord): void {
    const isKnown = node.records.some(each => each.type === record.type && each.rdata.equals(record.rdata));
    if (isKnown || node.records.length >= MOST_RECORDS_OF_NAME) return;
    if (record.type !== TYPE.PTR && node.records.length === 0) this.named++;
    node.records.push(record);
  }

  /** The node of a name, made with all names above it where it is missing; undefined: there are too many. */
  private node(name: NameText): Node | undefined {
    const known = this.nodes.get(name);
    if (known !== undefined) return known;
    const made: Node = { records: [], hasBelow: false };
    const missing: NameText[] = [];
    for (let at = name; at !== ROOT && !this.nodes.has(at); at = parentOf(at)) missing.push(at);
    if (this.nodes.size + missing.length > MOST_NAMES) return undefined;
    for (const each of missing) this.nodes.set(each, each === name ? made : { records: [], hasBelow: true });
    const above = this.nodes.get(parentOf(missing.at(-1) ?? name));
    if (above !== undefined) above.hasBelow = true;
    if (name.startsWith(ASTERISK)) this.wildcards++;
    return made;
  }
}

type Step =
  | { readonly at: 'records'; readonly records: readonly LocalRecord[] }
  | { readonly at: 'denial'; readonly rcode: number; readonly zone: NameText };

const isLive = ({ until }: LocalRecord, wallNow: WallSec): boolean => until === undefined || until > wallNow;
const isAddress = ({ type }: LocalRecord): boolean => type === TYPE.A || type === TYPE.AAAA || type === TYPE.CNAME;
const exists = ({ records, hasBelow }: Node, wallNow: WallSec): boolean =>
  hasBelow || records.some(each => isLive(each, wallNow));
const isSingleLabel = (name: NameText): boolean => parentOf(name) === ROOT;
const lower = (name: Buffer): NameText => lowerCased(name).toString('latin1');
