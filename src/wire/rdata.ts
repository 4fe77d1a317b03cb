// The domain names in RDATA. Only these types may have compressed names (RFC 1035 §3.3, RFC 3597 §4), and only their
// names are in lower case in canonical form (RFC 4034 §6.2, without NSEC: RFC 6840 §5.1).

import { TYPE } from './rrtype.js';

/** A part of RDATA: a number of octets, a <character-string>, or a name. All octets after the last part are opaque. */
export type RdataPart = number | 'string' | 'name';

const NAME: readonly RdataPart[] = ['name'];
const TWO_NAMES: readonly RdataPart[] = ['name', 'name'];
const PREFERENCE_NAME: readonly RdataPart[] = [2, 'name'];

const LAYOUTS: ReadonlyMap<number, readonly RdataPart[]> = new Map([
  [TYPE.NS, NAME],
  [TYPE.MD, NAME],
  [TYPE.MF, NAME],
  [TYPE.CNAME, NAME],
  [TYPE.MB, NAME],
  [TYPE.MG, NAME],
  [TYPE.MR, NAME],
  [TYPE.PTR, NAME],
  [TYPE.DNAME, NAME],
  [TYPE.NXT, NAME],
  [TYPE.SOA, TWO_NAMES],
  [TYPE.MINFO, TWO_NAMES],
  [TYPE.RP, TWO_NAMES],
  [TYPE.MX, PREFERENCE_NAME],
  [TYPE.AFSDB, PREFERENCE_NAME],
  [TYPE.RT, PREFERENCE_NAME],
  [TYPE.KX, PREFERENCE_NAME],
  [TYPE.PX, [2, 'name', 'name']],
  [TYPE.SRV, [6, 'name']],
  [TYPE.NAPTR, [4, 'string', 'string', 'string', 'name']],
  [TYPE.SIG, [18, 'name']],
  [TYPE.RRSIG, [18, 'name']],
]);

const OPAQUE: readonly RdataPart[] = [];

/** By type: each record of each answer is looked up. */
const BY_TYPE: readonly (readonly RdataPart[])[] = Array.from(
  { length: Math.max(...LAYOUTS.keys()) + 1 },
  (_, type) => LAYOUTS.get(type) ?? OPAQUE,
);

/** The parts of a type's RDATA; none if it contains no names of this kind, so that its octets stay as they are. */
export const partsOf = (type: number): readonly RdataPart[] => BY_TYPE[type] ?? OPAQUE;

/** A name that was read, in the wanted form, and the offset after it. */
export interface NameRead {
  readonly octets: Buffer;
  readonly end: number;
}

/**
 * RDATA with its names in another form.
 * @param nameAt reads the name at an offset of the message; undefined: it is malformed
 * @returns a view of the message if the RDATA contains no name; undefined if it is malformed
 */
export function rdataWith(
  message: Buffer,
  start: number,
  end: number,
  type: number,
  nameAt: (at: number) => NameRead | undefined,
): Buffer | undefined {
  const parts = partsOf(type);
  if (parts.length === 0) return message.subarray(start, end);
  const pieces: Buffer[] = [];
  let at = start;
  for (const part of parts) {
    const from = at;
    if (part === 'name') {
      const read = nameAt(at);
      if (read === undefined || read.end > end) return undefined;
      pieces.push(read.octets);
      at = read.end;
    } else {
      at += part === 'string' ? (message[at] ?? 0) + 1 : part;
      if (at > end) return undefined;
      pieces.push(message.subarray(from, at));
    }
  }
  if (at < end) pieces.push(message.subarray(at, end));
  return pieces.length === 1 ? pieces[0] : Buffer.concat(pieces);
}
