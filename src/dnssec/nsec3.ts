// Denial by NSEC3 (RFC 5155 §8): like NSEC, but names are hashed, and a gap may contain unsigned delegations (opt-out).

import { hash } from 'node:crypto';

import type { Budget } from './budget.js';
import { type Cut, cutAt, type Denial, endsZone, isBitmap, lacks, type Proof } from './denial.js';
import { ancestorOf, labelCount, type Name, octetsOf, parentOf, ROOT_NAME, wildcardOf } from './name.js';
import { onlyRdata, type RRset } from './rrset.js';

const SHA1 = 1;
const SHA1_BYTES = 20;
const NSEC3_FIXED_BYTES = 5;
const OPT_OUT = 1;
const BASE32HEX = '0123456789abcdefghijklmnopqrstuv';
/** Characters of a hash: 160 bits, five in each. */
const HASH_CHARACTERS = 32;

interface Nsec3 {
  /** Hashes, one octet per character. */
  readonly owner: string;
  readonly next: string;
  readonly optOut: boolean;
  readonly iterations: number;
  readonly salt: Buffer;
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

function readNsec3(set: RRset, zone: Name): Nsec3 | undefined {
  const { owner } = set;
  const only = onlyRdata(set);
  const hashed = hashFromLabel(owner);
  if (only === undefined || hashed === undefined || parentOf(owner) !== zone || only.length < NSEC3_FIXED_BYTES)
    return undefined;
  const flags = only.readUInt8(1);
  // Records with other algorithms or flags are ignored (RFC 5155 §8.1, §8.2).
  if (only.readUInt8(0) !== SHA1 || (flags & ~OPT_OUT) !== 0) return undefined;
  const nextAt = NSEC3_FIXED_BYTES + only.readUInt8(4);
  if (only[nextAt] !== SHA1_BYTES || nextAt + 1 + SHA1_BYTES > only.length) return undefined;
  const types = only.subarray(nextAt + 1 + SHA1_BYTES);
  return isBitmap(types)
    ? {
        owner: hashed,
        next: only.toString('latin1', nextAt + 1, nextAt + 1 + SHA1_BYTES),
        optOut: (flags & OPT_OUT) !== 0,
        iterations: only.readUInt16BE(2),
        salt: only.subarray(NSEC3_FIXED_BYTES, nextAt),
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

/** Makes a Denial of a zone's validated NSEC3 RRsets. */
export function nsec3Denial(sets: readonly RRset[], zone: Name, budget: Budget): Denial {
  // All records of one proof should have the same parameters, and a validator may ignore others (RFC 5155 §8.2). They
  // are used here: each is signed and proves something about its own hashes, for example while a zone changes its salt.
  const records = sets.flatMap(set => readNsec3(set, zone) ?? []);
  const zoneLabels = labelCount(zone);
  const hashes = new Map<string, string>();

  /** The hash of a name with the parameters of a record; undefined: the budget is used up. */
  function hashed(name: Name, { salt, iterations }: Nsec3): string | undefined {
    const key = `${iterations} ${salt.toString('latin1')} ${name}`;
    const known = hashes.get(key);
    if (known !== undefined || !budget.takeHash(iterations)) return known;
    const made = nsec3Hash(name, salt, iterations);
    hashes.set(key, made);
    return made;
  }
  const at = (name: Name): Nsec3 | undefined => records.find(each => each.owner === hashed(name, each));
  const covering = (name: Name): Nsec3 | undefined =>
    records.find(each => {
      const { owner, next } = each;
      const wanted = hashed(name, each);
      // The last gap wraps around to the first hash.
      return wanted !== undefined && (owner < next ? owner < wanted && wanted < next : wanted > owner || wanted < next);
    });

  /** RFC 5155 §8.3: the closest encloser, and the gap that the next closer name is in. */
  function closest(name: Name): { readonly encloser: Name; readonly gap: Nsec3 } | undefined {
    for (let labels = labelCount(name) - 1; labels >= zoneLabels; labels--) {
      const encloser = ancestorOf(name, labels);
      const own = at(encloser);
      if (own === undefined) continue;
      const gap = endsZone(own.types) ? undefined : covering(ancestorOf(name, labels + 1));
      return gap && { encloser, gap };
    }
    return undefined;
  }
  const proven = ({ optOut }: Nsec3): Proof => (optOut ? 'opt_out' : 'proven');

  return {
    noData(name, type): Proof {
      const own = at(name);
      if (own !== undefined) return lacks(own.types, type, name === ROOT_NAME) ? 'proven' : 'unproven';
      const found = closest(name);
      if (found === undefined) return 'unproven';
      const wildcard = at(wildcardOf(found.encloser));
      if (wildcard !== undefined) return lacks(wildcard.types, type, false) ? proven(found.gap) : 'unproven';
      // RFC 5155 §8.6: there may be an unsigned delegation that these records do not show.
      return found.gap.optOut ? 'opt_out' : 'unproven';
    },
    noName(name): Proof {
      if (at(name) !== undefined) return 'unproven';
      const found = closest(name);
      return found !== undefined && covering(wildcardOf(found.encloser)) !== undefined ? proven(found.gap) : 'unproven';
    },
    noCloser(name, labels): Proof {
      const gap = covering(ancestorOf(name, labels + 1));
      return gap === undefined ? 'unproven' : proven(gap);
    },
    cut(name): Cut {
      const own = at(name);
      if (own !== undefined) return cutAt(own.types);
      const found = closest(name);
      return found === undefined ? 'unproven' : found.gap.optOut ? 'delegation' : 'none';
    },
  };
}
