// Denial by NSEC3 (RFC 5155 §8): like NSEC, but names are hashed, and a gap may contain unsigned delegations (opt-out).

import { hash } from 'node:crypto';

import type { Budget } from './budget.js';
import { type Cut, cutAt, type Denial, endsZone, isBitmap, lacks, type Proof } from './denial.js';
import { ancestorOf, labelCount, type Name, octetsOf, parentOf, ROOT_NAME, wildcardOf } from './name.js';
import { onlyRdata, type RRset } from './rrset.js';
import { PAUSE, type Steps } from './steps.js';

const SHA1 = 1;
const SHA1_BYTES = 20;
const NSEC3_FIXED_BYTES = 5;
const OPT_OUT = 1;
const BASE32HEX = '0123456789abcdefghijklmnopqrstuv';
/** Characters of a hash: 160 bits, five in each. */
const HASH_CHARACTERS = 32;

/** How the names of a zone are hashed. */
export interface HashParameters {
  readonly iterations: number;
  readonly salt: Buffer;
  /** Iterations and salt, for comparison. */
  readonly parameters: string;
}

/** An NSEC3 record. */
export interface Nsec3 extends HashParameters {
  /** Hashes, one octet per character. */
  readonly owner: string;
  readonly next: string;
  readonly optOut: boolean;
  readonly types: Buffer;
}

/** RFC 4648 §7, without padding; undefined: not the hash of a name. */
function hashFromLabel(owner: Name): string | undefined {
  if (owner.charCodeAt(0) !== HASH_CHARACTERS) return undefined;
  let octets = '';
  let bits = 0;
  let value = 0;
  for (let i = 1; i <= HASH_CHARACTERS; i++) {
    const digit = BASE32HEX.indexOf(owner.charAt(i));
    if (digit === -1) return undefined;
    value = (value << 5) | digit;
    bits += 5;
    if (bits >= 8) {
      bits -= 8;
      octets += String.fromCharCode((value >> bits) & 0xff);
      value &= (1 << bits) - 1;
    }
  }
  return octets;
}

/** Reads a validated NSEC3 RRset; undefined: it denies nothing in this zone. */
export function readNsec3(set: RRset, zone: Name): Nsec3 | undefined {
  const { owner } = set;
  const only = onlyRdata(set);
  const label = hashFromLabel(owner);
  if (only === undefined || label === undefined || parentOf(owner) !== zone || only.length < NSEC3_FIXED_BYTES)
    return undefined;
  const flags = only.readUInt8(1);
  // Records with other algorithms or flags are ignored (RFC 5155 §8.1, §8.2).
  if (only.readUInt8(0) !== SHA1 || (flags & ~OPT_OUT) !== 0) return undefined;
  const nextAt = NSEC3_FIXED_BYTES + only.readUInt8(4);
  if (only[nextAt] !== SHA1_BYTES || nextAt + 1 + SHA1_BYTES > only.length) return undefined;
  const types = only.subarray(nextAt + 1 + SHA1_BYTES);
  return isBitmap(types)
    ? {
        owner: label,
        next: only.toString('latin1', nextAt + 1, nextAt + 1 + SHA1_BYTES),
        optOut: (flags & OPT_OUT) !== 0,
        iterations: only.readUInt16BE(2),
        salt: only.subarray(NSEC3_FIXED_BYTES, nextAt),
        parameters: only.toString('latin1', 2, nextAt),
        types,
      }
    : undefined;
}

/** The hash of a name (RFC 5155 §5). */
export function nsec3Hash(name: Name, salt: Buffer, iterations: number): string {
  let octets = hash('sha1', Buffer.concat([octetsOf(name), salt]), 'buffer');
  for (let i = 0; i < iterations; i++)
    octets = hash('sha1', salt.length === 0 ? octets : Buffer.concat([octets, salt]), 'buffer');
  return octets.toString('latin1');
}

/** The number of iterations that a zone's NSEC3 RRsets ask for; the highest, if they differ. */
export const iterationsOf = (sets: readonly RRset[]): number =>
  Math.max(
    0,
    ...sets.map(({ rdata: [only] }) =>
      only !== undefined && only.length >= NSEC3_FIXED_BYTES ? only.readUInt16BE(2) : 0,
    ),
  );

/** A record that was looked for. */
type Found = Nsec3 | 'limit' | undefined;

/** The records of a zone, found by the hashes of names. */
class HashedNames {
  private readonly zoneLabels: number;

  constructor(
    private readonly records: readonly Nsec3[],
    zone: Name,
    private readonly budget: Budget,
  ) {
    this.zoneLabels = labelCount(zone);
  }

  /** The record of a name. */
  at(name: Name): Steps<Found> {
    return this.find(name, ({ owner }, wanted) => owner === wanted);
  }

  /** The record with the gap that a name is in. */
  covering(name: Name): Steps<Found> {
    return this.find(name, ({ owner, next }, wanted) =>
      // The last gap wraps around to the first hash.
      owner < next ? owner < wanted && wanted < next : wanted > owner || wanted < next,
    );
  }

  /** RFC 5155 §8.3: the closest encloser, and the gap that the next closer name is in. */
  *closest(name: Name): Steps<{ readonly encloser: Name; readonly gap: Nsec3 } | 'limit' | undefined> {
    for (let labels = labelCount(name) - 1; labels >= this.zoneLabels; labels--) {
      const encloser = ancestorOf(name, labels);
      const own = yield* this.at(encloser);
      if (own === 'limit') return own;
      if (own === undefined) continue;
      const gap = endsZone(own.types) ? undefined : yield* this.covering(ancestorOf(name, labels + 1));
      return gap === undefined || gap === 'limit' ? gap : { encloser, gap };
    }
    return undefined;
  }

  private *find(name: Name, fits: (record: Nsec3, wanted: string) => boolean): Steps<Found> {
    let last: Nsec3 | undefined;
    let wanted: string | undefined;
    for (const each of this.records) {
      // Nearly always all have the same parameters, and to look a hash up is not for nothing, either.
      if (last?.parameters !== each.parameters) wanted = yield* hashed(name, each, this.budget);
      if (wanted === undefined) return 'limit';
      last = each;
      if (fits(each, wanted)) return each;
    }
    return undefined;
  }
}

/** The hash of a name, computed once for a question; undefined: the budget is used up. */
export function* hashed(
  name: Name,
  { salt, iterations, parameters }: HashParameters,
  budget: Budget,
): Steps<string | undefined> {
  const key = `${parameters} ${name}`;
  const known = budget.hashed.get(key);
  if (known !== undefined || !budget.takeHash(iterations)) return known;
  while (budget.mustPause) yield PAUSE;
  const made = nsec3Hash(name, salt, iterations);
  budget.hashed.set(key, made);
  return made;
}

/** Makes a Denial of a zone's validated NSEC3 RRsets. */
export function nsec3Denial(sets: readonly RRset[], zone: Name, budget: Budget): Denial {
  // All records of one proof should have the same parameters, and a validator may ignore others (RFC 5155 §8.2). They
  // are used here: each is signed and proves something about its own hashes, for example while a zone changes its salt.
  const names = new HashedNames(
    sets.flatMap(set => readNsec3(set, zone) ?? []),
    zone,
    budget,
  );
  const proven = ({ optOut }: Nsec3): Proof => (optOut ? 'opt_out' : 'proven');

  return {
    *noData(name, type): Steps<Proof> {
      const own = yield* names.at(name);
      if (own === 'limit') return own;
      if (own !== undefined) return lacks(own.types, type, name === ROOT_NAME) ? 'proven' : 'unproven';
      const near = yield* names.closest(name);
      if (near === 'limit') return near;
      if (near === undefined) return 'unproven';
      const wildcard = yield* names.at(wildcardOf(near.encloser));
      if (wildcard === 'limit') return wildcard;
      if (wildcard !== undefined) return lacks(wildcard.types, type, false) ? proven(near.gap) : 'unproven';
      // RFC 5155 §8.6: there may be an unsigned delegation that these records do not show.
      return near.gap.optOut ? 'opt_out' : 'unproven';
    },
    *noName(name): Steps<Proof> {
      const own = yield* names.at(name);
      if (own !== undefined) return own === 'limit' ? own : 'unproven';
      const near = yield* names.closest(name);
      if (near === 'limit') return near;
      const wildcard = near && (yield* names.covering(wildcardOf(near.encloser)));
      if (near === undefined || wildcard === undefined) return 'unproven';
      return wildcard === 'limit' ? wildcard : proven(near.gap);
    },
    *noCloser(name, labels): Steps<Proof> {
      const gap = yield* names.covering(ancestorOf(name, labels + 1));
      if (gap === 'limit') return gap;
      return gap === undefined ? 'unproven' : proven(gap);
    },
    *cut(name): Steps<Cut> {
      const own = yield* names.at(name);
      if (own === 'limit') return own;
      if (own !== undefined) return cutAt(own.types);
      const near = yield* names.closest(name);
      if (near === 'limit') return near;
      return near === undefined ? 'unproven' : near.gap.optOut ? 'delegation' : 'none';
    },
  };
}
