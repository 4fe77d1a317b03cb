// The common part of denials by NSEC and NSEC3: what they can prove, and how a type bitmap is read (RFC 4034 §4.1.2).

import { TYPE } from '../wire/rrtype.js';
import type { Name } from './name.js';
import type { Steps } from './steps.js';

/**
 * `opt_out`: proven, except that an unsigned delegation may exist (RFC 5155 §6, §9.2), so the result is insecure. `limit`:
 * the question has used up what it may compute, which says nothing about the zone.
 */
export type Proof = 'proven' | 'opt_out' | 'unproven' | 'limit';

/** Whether a name is a zone cut without DS. `delegation`: to an unsigned zone; `none`: the name is no cut. */
export type Cut = 'delegation' | 'none' | 'unproven' | 'limit';

/** Validated denial records of one zone. Hashing takes time, so the proofs are steps. */
export interface Denial {
  /** The name exists, or a wildcard answers for it, without this type. */
  noData(name: Name, type: number): Steps<Proof>;
  /** Neither the name exists, nor a wildcard that could answer for it. */
  noName(name: Name): Steps<Proof>;
  /**
   * No ancestor of this name with more than this many labels exists, so the wildcard below the ancestor with this many
   * labels answers for it.
   */
  noCloser(name: Name, labels: number): Steps<Proof>;
  /** Whether a name without DS is a zone cut. */
  cut(name: Name): Steps<Cut>;
}

type Nothing = 'unproven' | 'limit';

/** Combines denials: proves what any of them proves. A zone that changes from NSEC to NSEC3 may send both. */
export function anyOf(denials: readonly Denial[]): Denial {
  const [only] = denials;
  if (only !== undefined && denials.length === 1) return only;
  function* first<T extends string>(ask: (denial: Denial) => Steps<T | Nothing>): Steps<T | Nothing> {
    let nothing: Nothing = 'unproven';
    for (const each of denials) {
      const said = yield* ask(each);
      if (said === 'limit') nothing = 'limit';
      else if (said !== 'unproven') return said;
    }
    return nothing;
  }
  return {
    noData: (name, type) => first<Proof>(each => each.noData(name, type)),
    noName: name => first<Proof>(each => each.noName(name)),
    noCloser: (name, labels) => first<Proof>(each => each.noCloser(name, labels)),
    cut: name => first<Cut>(each => each.cut(name)),
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

/** The record is the parent's at a zone cut: it only proves something about the DS there (RFC 6840 §4.1, §4.4). */
export const isParentSide = (bitmap: Buffer): boolean => hasType(bitmap, TYPE.NS) && !hasType(bitmap, TYPE.SOA);

/** The record cannot deny names below its owner: they are not in this zone (RFC 6840 §4.1). */
export const endsZone = (bitmap: Buffer): boolean => isParentSide(bitmap) || hasType(bitmap, TYPE.DNAME);

/** Whether the denial record of a name proves that it has no records of this type. */
export function lacks(bitmap: Buffer, type: number, isRoot: boolean): boolean {
  if (hasType(bitmap, type) || hasType(bitmap, TYPE.CNAME)) return false;
  // The DS of a zone is in its parent, and all its other records are not.
  return type === TYPE.DS ? isRoot || !hasType(bitmap, TYPE.SOA) : !isParentSide(bitmap);
}

/** What the denial record of a name proves about a zone cut there. */
export function cutAt(bitmap: Buffer): Cut {
  if (hasType(bitmap, TYPE.SOA) || hasType(bitmap, TYPE.DS)) return 'unproven';
  return hasType(bitmap, TYPE.NS) ? 'delegation' : 'none';
}
