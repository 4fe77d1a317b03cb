// The RRsets of a message in canonical form (RFC 4034 §6), each with the signatures over it.

import { u16At, u32At } from '../base/octets.js';
import { rdataWith } from '../wire/rdata.js';
import { type ScannedMessage, ScannedRecords, type Section } from '../wire/records.js';
import { CLASS_IN, TYPE, typeToText } from '../wire/rrtype.js';
import { type Name, nameText, readCanonical } from './name.js';

/** One RRSIG record (RFC 4034 §3.1). */
export interface Signature {
  readonly algorithm: number;
  /** The labels of the signed owner, without the root and a wildcard label. */
  readonly labels: number;
  readonly originalTtlSec: number;
  /** Seconds since 1970, modulo 2^32. */
  readonly expiration: number;
  readonly inception: number;
  readonly keyTag: number;
  readonly signer: Name;
  /** The RDATA before the signature, with the signer in canonical form: the start of the octets that are signed. */
  readonly head: Buffer;
  readonly octets: Buffer;
  readonly ttlSec: number;
}

/** The sections that validation reads. */
export type SignedSection = Exclude<Section, 'additional'>;

/** Records of one owner and type. */
export interface RRset {
  readonly owner: Name;
  readonly type: number;
  readonly section: SignedSection;
  /** The lowest TTL of its records. */
  ttlSec: number;
  /** RDATA in canonical form, in the order of the message. */
  readonly rdata: Buffer[];
  readonly signatures: Signature[];
  /** The numbers of its records in the message, signatures included. */
  readonly records: number[];
}

/** The RRsets of the answer and authority sections. */
export interface Sets {
  readonly answer: readonly RRset[];
  readonly authority: readonly RRset[];
}

const SIGNATURE_FIXED_BYTES = 18;

/** RDATA in canonical form; undefined if it is malformed. */
const canonicalRdata = (message: Buffer, start: number, end: number, type: number): Buffer | undefined =>
  rdataWith(message, start, end, type, at => {
    const read = readCanonical(message, at, end);
    return read && { octets: Buffer.from(read.name, 'latin1'), end: read.end };
  });

function readSignature(
  message: Buffer,
  start: number,
  end: number,
  ttlSec: number,
): { covered: number; signature: Signature } | undefined {
  if (start + SIGNATURE_FIXED_BYTES + 1 > end) return undefined;
  const read = readCanonical(message, start + SIGNATURE_FIXED_BYTES, end);
  if (read === undefined) return undefined;
  const signer = read.name;
  const octets = message.subarray(read.end, end);
  const head = Buffer.allocUnsafe(SIGNATURE_FIXED_BYTES + signer.length);
  message.copy(head, 0, start, start + SIGNATURE_FIXED_BYTES);
  head.write(signer, SIGNATURE_FIXED_BYTES, 'latin1');
  return {
    covered: u16At(head, 0),
    signature: {
      algorithm: head.readUInt8(2),
      labels: head.readUInt8(3),
      originalTtlSec: u32At(head, 4),
      expiration: u32At(head, 8),
      inception: u32At(head, 12),
      keyTag: u16At(head, 16),
      signer,
      head,
      octets,
      ttlSec,
    },
  };
}

/** The signature in the RDATA of an RRSIG record, its signer in canonical form; undefined: it is malformed. */
export const signatureFrom = (rdata: Buffer, ttlSec: number): Signature | undefined =>
  readSignature(rdata, 0, rdata.length, ttlSec)?.signature;

/** In a section with more sets than this, a table finds a set. With fewer, a search from the end is faster. */
const FEW_SETS = 12;
const keyOf = (owner: Name, type: number, section: SignedSection): string => `${section} ${type} ${owner}`;

/** Sorts records into RRsets. */
class Grouping implements Sets {
  readonly answer: RRset[] = [];
  readonly authority: RRset[] = [];
  private table: Map<string, RRset> | undefined = undefined;

  find(owner: Name, type: number, section: SignedSection): RRset | undefined {
    const sets = this[section];
    if (sets.length > FEW_SETS) {
      this.table ??= new Map(
        [...this.answer, ...this.authority].map(each => [keyOf(each.owner, each.type, each.section), each]),
      );
      return this.table.get(keyOf(owner, type, section));
    }
    // In most messages the records of a set are adjacent.
    for (let i = sets.length - 1; i >= 0; i--) {
      const each = sets[i];
      if (each?.type === type && each.owner === owner) return each;
    }
    return undefined;
  }

  private add(set: RRset): void {
    this[set.section].push(set);
    this.table?.set(keyOf(set.owner, set.type, set.section), set);
  }

  /** @param index the number of the record in the message */
  addSignature(owner: Name, covered: number, section: SignedSection, index: number, signature: Signature): void {
    const set = this.find(owner, covered, section);
    if (set === undefined)
      return this.add({
        owner,
        type: covered,
        section,
        ttlSec: Infinity,
        rdata: [],
        signatures: [signature],
        records: [index],
      });
    set.signatures.push(signature);
    set.records.push(index);
  }

  /** @param index the number of the record in the message */
  addData(owner: Name, type: number, section: SignedSection, index: number, ttlSec: number, rdata: Buffer): void {
    const set = this.find(owner, type, section);
    if (set === undefined)
      return this.add({ owner, type, section, ttlSec, rdata: [rdata], signatures: [], records: [index] });
    if (ttlSec < set.ttlSec) set.ttlSec = ttlSec;
    set.rdata.push(rdata);
    set.records.push(index);
  }
}

/** Groups the records of a message; undefined if one of them is malformed. The result borrows the message's octets. */
export function readSets(message: ScannedMessage, questionEnd: number): Sets | undefined {
  const { octets } = message;
  const sets = new Grouping();
  const record = new ScannedRecords(message, questionEnd);
  while (record.next()) {
    const { section, type, rdata: start, end } = record;
    if (section === 'additional') break;
    // Signatures are over records of class IN: others are in no set, so nothing proves them.
    if (record.class !== CLASS_IN) continue;
    const owner = readCanonical(octets, record.owner)?.name;
    if (owner === undefined) return undefined;
    if (type === TYPE.RRSIG) {
      const read = readSignature(octets, start, end, record.ttlSec);
      if (read === undefined) return undefined;
      sets.addSignature(owner, read.covered, section, record.index, read.signature);
    } else {
      const rdata = canonicalRdata(octets, start, end, type);
      // The next name of an NSEC is never compressed and keeps its letter case (RFC 6840 §5.1), but it must be a name.
      if (rdata === undefined || (type === TYPE.NSEC && readCanonical(octets, start, end) === undefined))
        return undefined;
      sets.addData(owner, type, section, record.index, record.ttlSec, rdata);
    }
  }
  return sets;
}

/** The RDATA of a set with one record, duplicates not counted (RFC 4034 §6.3); undefined: several or none. */
export const onlyRdata = ({ rdata: [first, ...others] }: RRset): Buffer | undefined =>
  first !== undefined && others.every(each => each.equals(first)) ? first : undefined;

/** Owner and type, for messages. */
export const setText = ({ owner, type }: RRset): string => `${nameText(owner)} ${typeToText(type)}`;
