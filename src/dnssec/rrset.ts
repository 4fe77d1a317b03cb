// A message as validation sees it: RRsets in canonical form (RFC 4034 §6), each with the signatures over it.

import { u16At, u32At } from '../base/octets.js';
import { rdataWith } from '../wire/rdata.js';
import { TYPE, typeToText } from '../wire/rrtype.js';
import { ttlAt } from '../wire/scan.js';
import { type Name, nameText, readCanonical } from './name.js';

/** One RRSIG record (RFC 4034 §3.1). */
export interface Signature {
  readonly algorithm: number;
  /** Labels of the owner that was signed, neither the root's nor a wildcard's counted. */
  readonly labels: number;
  readonly originalTtlSec: number;
  /** Seconds since 1970, modulo 2^32. */
  readonly expiration: number;
  readonly inception: number;
  readonly keyTag: number;
  readonly signer: Name;
  /** The RDATA up to the signature, signer in canonical form: what the signed octets start with. */
  readonly head: Buffer;
  readonly octets: Buffer;
  readonly ttlSec: number;
}

export type Section = 'answer' | 'authority';

/** Records of one owner and type. */
export interface RRset {
  readonly owner: Name;
  readonly type: number;
  readonly section: Section;
  /** The lowest of its records'. */
  ttlSec: number;
  /** RDATA in canonical form, in the order of the message. */
  readonly rdata: Buffer[];
  readonly signatures: Signature[];
  /** Which records of the message it is made of, signatures included. */
  readonly records: number[];
}

/** What a walk needs to know of a message. */
export interface WalkedMessage {
  readonly octets: Buffer;
  readonly rcode: number;
  readonly answers: number;
  readonly authority: number;
  /** Offsets of the TTLs of all records, in order. */
  readonly ttlOffsets: ArrayLike<number>;
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

const FEW_SETS = 12;
const keyOf = ({ owner, type, section }: Pick<RRset, 'owner' | 'type' | 'section'>): string =>
  `${section} ${type} ${owner}`;

/** Groups the records of a message; undefined if one of them is malformed. What it returns borrows the message's octets. */
export function readSets(message: WalkedMessage, questionEnd: number): Sets | undefined {
  const { octets, ttlOffsets, answers, authority } = message;
  const found = { answer: [] as RRset[], authority: [] as RRset[] };
  // Only where there are many: most messages have a few, and records of a set stand together.
  let index: Map<string, RRset> | undefined;
  function known(owner: Name, type: number, section: Section): RRset | undefined {
    const sets = found[section];
    if (sets.length > FEW_SETS) {
      index ??= new Map([...found.answer, ...found.authority].map(each => [keyOf(each), each]));
      return index.get(keyOf({ owner, type, section }));
    }
    for (let i = sets.length - 1; i >= 0; i--) {
      const each = sets[i];
      if (each?.type === type && each.owner === owner) return each;
    }
    return undefined;
  }
  function add(set: RRset): void {
    found[set.section].push(set);
    index?.set(keyOf(set), set);
  }
  let at = questionEnd;
  for (let i = 0; i < answers + authority; i++) {
    const fixed = (ttlOffsets[i] ?? 0) - 4;
    const section = i < answers ? 'answer' : 'authority';
    const owner = readCanonical(octets, at)?.name;
    if (owner === undefined) return undefined;
    const type = u16At(octets, fixed);
    const ttlSec = ttlAt(octets, fixed + 4);
    const start = fixed + 10;
    const end = start + u16At(octets, fixed + 8);
    at = end;
    if (type === TYPE.RRSIG) {
      const read = readSignature(octets, start, end, ttlSec);
      if (read === undefined) return undefined;
      const set = known(owner, read.covered, section);
      if (set === undefined)
        add({
          owner,
          type: read.covered,
          section,
          ttlSec: Infinity,
          rdata: [],
          signatures: [read.signature],
          records: [i],
        });
      else {
        set.signatures.push(read.signature);
        set.records.push(i);
      }
    } else {
      const rdata = canonicalRdata(octets, start, end, type);
      // The next name is never compressed, and keeps its letters (RFC 6840 §5.1), but has to be one.
      if (rdata === undefined || (type === TYPE.NSEC && readCanonical(octets, start, end) === undefined))
        return undefined;
      const set = known(owner, type, section);
      if (set === undefined) add({ owner, type, section, ttlSec, rdata: [rdata], signatures: [], records: [i] });
      else {
        if (ttlSec < set.ttlSec) set.ttlSec = ttlSec;
        set.rdata.push(rdata);
        set.records.push(i);
      }
    }
  }
  return found;
}

/** The RDATA of a set that has one record, however often it is said (RFC 4034 §6.3); undefined: it has several. */
export const onlyRdata = ({ rdata: [first, ...others] }: RRset): Buffer | undefined =>
  first !== undefined && others.every(each => each.equals(first)) ? first : undefined;

/** Owner and type, for people. */
export const setText = ({ owner, type }: RRset): string => `${nameText(owner)} ${typeToText(type)}`;
