// Denial by NSEC (RFC 4034 §4, RFC 4035 §5.4, RFC 6840 §4): each record names the next name in the zone and the types
// of its owner.

import { type Cut, cutAt, type Denial, endsZone, isBitmap, lacks, type Proof } from './denial.js';
import {
  ancestorOf,
  commonLabels,
  compareNames,
  isWithin,
  type Name,
  readCanonical,
  ROOT_NAME,
  wildcardOf,
} from './name.js';
import { onlyRdata, type RRset } from './rrset.js';
import type { Steps } from './steps.js';

/** An NSEC record. */
export interface Nsec {
  readonly owner: Name;
  readonly next: Name;
  readonly types: Buffer;
}

/** Reads a validated NSEC RRset; undefined: it denies nothing in this zone. */
export function readNsec(set: RRset, zone: Name): Nsec | undefined {
  const { owner } = set;
  const only = onlyRdata(set);
  const next = only && readCanonical(only, 0);
  if (next === undefined) return undefined;
  const types = only?.subarray(next.end) ?? Buffer.alloc(0);
  // A zone cannot deny names that are not in it.
  return isBitmap(types) && isWithin(owner, zone) && isWithin(next.name, zone)
    ? { owner, next: next.name, types }
    : undefined;
}

/** Makes a Denial of a zone's validated NSEC RRsets. */
export function nsecDenial(sets: readonly RRset[], zone: Name): Denial {
  const records = sets.flatMap(set => readNsec(set, zone) ?? []);

  /** The record with the gap that a name is in. */
  const covering = (name: Name): Nsec | undefined =>
    records.find(
      ({ owner, next, types }) =>
        compareNames(owner, name) < 0 &&
        (next === zone || compareNames(name, next) < 0) &&
        !(isWithin(name, owner) && endsZone(types)) &&
        isWithin(name, zone),
    );
  /** Whether a name has no records, but names below it have (an empty non-terminal). */
  const isEmptyNonTerminal = (name: Name, gap: Nsec): boolean => isWithin(gap.next, name);
  const encloserLabels = (name: Name, { owner, next }: Nsec): number =>
    Math.max(commonLabels(name, owner), commonLabels(name, next));
  const at = (name: Name): Nsec | undefined => records.find(({ owner }) => owner === name);

  return {
    *noData(name, type): Steps<Proof> {
      const own = at(name);
      if (own !== undefined) return lacks(own.types, type, name === ROOT_NAME) ? 'proven' : 'unproven';
      const gap = covering(name);
      if (gap === undefined) return 'unproven';
      if (isEmptyNonTerminal(name, gap)) return 'proven';
      const wildcard = at(wildcardOf(ancestorOf(name, encloserLabels(name, gap))));
      return wildcard !== undefined && lacks(wildcard.types, type, false) ? 'proven' : 'unproven';
    },
    *noName(name): Steps<Proof> {
      const gap = covering(name);
      if (gap === undefined || isEmptyNonTerminal(name, gap)) return 'unproven';
      const wildcard = wildcardOf(ancestorOf(name, encloserLabels(name, gap)));
      const wildcardGap = covering(wildcard);
      return wildcardGap !== undefined && !isEmptyNonTerminal(wildcard, wildcardGap) ? 'proven' : 'unproven';
    },
    *noCloser(name, labels): Steps<Proof> {
      const gap = covering(name);
      return gap !== undefined && !isEmptyNonTerminal(name, gap) && encloserLabels(name, gap) === labels
        ? 'proven'
        : 'unproven';
    },
    *cut(name): Steps<Cut> {
      const own = at(name);
      if (own !== undefined) return cutAt(own.types);
      return covering(name) === undefined ? 'unproven' : 'none';
    },
  };
}
