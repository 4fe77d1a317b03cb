// What denials of existence have in common, whether by NSEC or by NSEC3 records: what can be asked of them, and what a type
// bitmap says (RFC 4034 §4.1.2).

import { TYPE } from '../wire/rrtype.js';
import type { Name } from './name.js';

/** `opt_out`: proven, but an unsigned delegation may be there all the same (RFC 5155 §6, §9.2): not secure. */
export type Proof = 'proven' | 'opt_out' | 'unproven';

/** Whether a name is a zone cut that has no DS: `delegation` is one to an unsigned zone, `none` is no cut at all. */
export type Cut = 'delegation' | 'none' | 'unproven';

/** Validated denial records of one zone. */
export interface Denial {
  /** The name exists, or a wildcard answers for it, without this type. */
  noData(name: Name, type: number): Proof;
  /** Neither the name exists, nor a wildcard that would answer for it. */
  noName(name: Name): Proof;
  /** Nothing of this name exists beyond its ancestor with so many labels: a wildcard there answers for it. */
  noCloser(name: Name, labels: number): Proof;
  /** What stands at a name for which there is no DS. */
  cut(name: Name): Cut;
}

/** What one of several can prove: a zone on its way from NSEC to NSEC3 may send both. */
export function anyOf(denials: readonly Denial[]): Denial {
  const [only] = denials;
  if (only !== undefined && denials.length === 1) return only;
  const first = <T extends string>(ask: (denial: Denial) => T | 'unproven'): T | 'unproven' => {
    for (const each of denials) {
      const said = ask(each);
      if (said !== 'unproven') return said;
    }
    return 'unproven';
  };
  return {
    noData: (name, type) => first(each => each.noData(name, type)),
    noName: name => first(each => each.noName(name)),
    noCloser: (name, labels) => first(each => each.noCloser(name, labels)),
    cut: name => first(each => each.cut(name)),
  };
}

/** Checks a type bitmap's windows. */
export function isBitmap(bitmap: Buffer): boolean {
  let at = 0;
  while (at < bitmap.length) {
    const bytes = bitmap[at + 1] ?? 0;
    if (bytes === 0 || bytes > 32) return false;
    at += 2 + bytes;
  }
  return at === bitmap.length;
}

/** Whether a type is in a bitmap. */
export function hasType(bitmap: Buffer, type: number): boolean {
  for (let at = 0; at < bitmap.length; at += 2 + (bitmap[at + 1] ?? 0)) {
    if (bitmap[at] !== type >> 8) continue;
    const octet = (type & 0xff) >> 3;
    return octet < (bitmap[at + 1] ?? 0) && ((bitmap[at + 2 + octet] ?? 0) & (0x80 >> (type & 7))) !== 0;
  }
  return false;
}

/** It is the parent's record at a zone cut: it speaks of the DS there, and of nothing else (RFC 6840 §4.1, §4.4). */
export const isParentSide = (bitmap: Buffer): boolean => hasType(bitmap, TYPE.NS) && !hasType(bitmap, TYPE.SOA);

/** What is below the owner is not this zone's to deny (RFC 6840 §4.1). */
export const endsZone = (bitmap: Buffer): boolean => isParentSide(bitmap) || hasType(bitmap, TYPE.DNAME);

/** Whether the record at a name itself shows that it has no records of this type. */
export function lacks(bitmap: Buffer, type: number, isRoot: boolean): boolean {
  if (hasType(bitmap, type) || hasType(bitmap, TYPE.CNAME)) return false;
  // The child knows nothing of its own DS, the parent nothing of the child's other records.
  return type === TYPE.DS ? isRoot || !hasType(bitmap, TYPE.SOA) : !isParentSide(bitmap);
}

/** What the record at a name says about a zone cut there. */
export function cutAt(bitmap: Buffer): Cut {
  if (hasType(bitmap, TYPE.SOA) || hasType(bitmap, TYPE.DS)) return 'unproven';
  return hasType(bitmap, TYPE.NS) ? 'delegation' : 'none';
}
