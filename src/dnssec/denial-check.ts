// Checks the denial records of a zone in an authority section: their signatures, and what they prove (RFC 4035 §5.4).

import { EDE } from '../base/outcome.js';
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

/** The result of checking denial records. */
export type DenialCheck =
  | { readonly at: 'denial'; readonly denial: Denial; readonly ttlSec: number; readonly sets: readonly RRset[] }
  /** They need more hashing than a validator must do (RFC 9276 §3.2). */
  | { readonly at: 'too_many_iterations'; readonly why: ExtendedError }
  | { readonly at: 'flawed'; readonly flaw: Flaw };

/** The most denial records of one zone in an answer. Four for each of 16 aliases are the most that an answer needs. */
const MOST_DENIALS = 64;

/** Checks the denial records that a zone has signed. Those that are not good are left out. */
export function* checkDenial(
  chain: Chain,
  zone: Name,
  keys: readonly Dnskey[],
  authority: readonly RRset[],
): Steps<DenialCheck> {
  const sets: RRset[] = [];
  let ttlSec = Infinity;
  let flaw: Flaw | undefined;
  let count = 0;
  for (const set of authority) {
    const { owner, type, signatures } = set;
    if ((type !== TYPE.NSEC && type !== TYPE.NSEC3) || !signatures.some(({ signer }) => signer === zone)) continue;
    if (++count > MOST_DENIALS) {
      chain.run.budget.exceed('signatures');
      return { at: 'flawed', flaw: { code: 'dnssec_limit', detail: `${nameText(zone)}: too many denials to check` } };
    }
    const checked = yield* chain.check(set, zone, keys);
    if (checked.at !== 'good') {
      if (checked.flaw.code === 'dnssec_limit') return { at: 'flawed', flaw: checked.flaw };
      // The others may be enough.
      flaw ??= checked.flaw;
    } else if (checked.expanded) {
      // The NSEC of a wildcard is about the wildcard only, not about names made from it.
      flaw ??= { code: 'bogus', detail: `${nameText(owner)}: a denial made from a wildcard` };
    } else {
      sets.push(set);
      ttlSec = Math.min(ttlSec, checked.ttlSec);
    }
  }
  if (sets.length === 0 && flaw !== undefined) return { at: 'flawed', flaw };
  const plain = sets.filter(({ type }) => type === TYPE.NSEC);
  const hashed = sets.filter(({ type }) => type === TYPE.NSEC3);
  const iterations = iterationsOf(hashed);
  const most = chain.run.settings.maxNsec3Iterations;
  if (iterations > most) {
    const text = `${nameText(zone)} asks for ${iterations} NSEC3 iterations, more than ${most}`;
    return { at: 'too_many_iterations', why: { infoCode: EDE.NSEC3_ITERATIONS, text } };
  }
  const denials: Denial[] = [];
  if (plain.length > 0) denials.push(nsecDenial(plain, zone));
  if (hashed.length > 0) denials.push(nsec3Denial(hashed, zone, chain.run.budget));
  return { at: 'denial', ttlSec, sets, denial: anyOf(denials) };
}
