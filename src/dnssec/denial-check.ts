// Checks the denial records of a zone in an authority section: their signatures, and what they prove (RFC 4035 §5.4).

import { TYPE } from '../wire/rrtype.js';
import type { ExtendedError } from '../wire/edns.js';
import type { Chain } from './chain.js';
import { anyOf, type Denial } from './denial.js';
import type { Dnskey } from './dnskey.js';
import { type Name, nameText } from './name.js';
import { nsecDenial } from './nsec.js';
import { iterationsOf, nsec3Denial } from './nsec3.js';
import type { RRset } from './rrset.js';
import type { Flaw } from './signature.js';
import type { Steps } from './steps.js';

const ITERATIONS_EDE = 27;

/** The result of checking denial records. */
export type DenialCheck =
  | { readonly at: 'denial'; readonly denial: Denial; readonly ttlSec: number; readonly sets: readonly RRset[] }
  /** They need more hashing than a validator must do (RFC 9276 §3.2). */
  | { readonly at: 'too_many_iterations'; readonly why: ExtendedError }
  | { readonly at: 'flawed'; readonly flaw: Flaw };

/** Checks the denial records that a zone has signed. */
export function* checkDenial(
  chain: Chain,
  zone: Name,
  keys: readonly Dnskey[],
  authority: readonly RRset[],
): Steps<DenialCheck> {
  const sets = authority.filter(
    ({ type, signatures }) =>
      (type === TYPE.NSEC || type === TYPE.NSEC3) && signatures.some(({ signer }) => signer === zone),
  );
  let ttlSec = Infinity;
  for (const set of sets) {
    const checked = yield* chain.check(set, zone, keys);
    if (checked.at !== 'good') return { at: 'flawed', flaw: checked.flaw };
    // The NSEC of a wildcard is about the wildcard only, not about names made from it.
    if (checked.expanded)
      return { at: 'flawed', flaw: { code: 'bogus', detail: `${nameText(set.owner)}: a denial made from a wildcard` } };
    ttlSec = Math.min(ttlSec, checked.ttlSec);
  }
  const plain = sets.filter(({ type }) => type === TYPE.NSEC);
  const hashed = sets.filter(({ type }) => type === TYPE.NSEC3);
  const iterations = iterationsOf(hashed);
  const most = chain.run.settings.maxNsec3Iterations;
  if (iterations > most) {
    const text = `${nameText(zone)} asks for ${iterations} NSEC3 iterations, more than ${most}`;
    return { at: 'too_many_iterations', why: { infoCode: ITERATIONS_EDE, text } };
  }
  const denials: Denial[] = [];
  if (plain.length > 0) denials.push(nsecDenial(plain, zone));
  if (hashed.length > 0) denials.push(nsec3Denial(hashed, zone, chain.run.budget));
  return { at: 'denial', ttlSec, sets, denial: anyOf(denials) };
}
