// Validates one answer (RFC 4035 §5): first each link of its chain of aliases, then the data or the denial at the end.

import { failure, type Failure, type FailureCode, RCODE } from '../base/outcome.js';
import type { ExtendedError } from '../wire/edns.js';
import { MAX_NAME_BYTES } from '../wire/name.js';
import { rcodeToText } from '../wire/rcode.js';
import { TYPE, typeToText } from '../wire/rrtype.js';
import type { Chain } from './chain.js';
import type { Proof } from './denial.js';
import { checkDenial } from './denial-check.js';
import { signedText } from './explain.js';
import { isWithin, type Name, nameText, parentOf, readCanonical } from './name.js';
import { onlyRdata, type RRset, type Sets, setText } from './rrset.js';
import type { Flaw } from './signature.js';
import type { Steps } from './steps.js';
import type { ZoneState } from './zones.js';

/** The result of validating an answer (RFC 4035 §4.3). */
export type Finding =
  | SecureFinding
  | { readonly at: 'insecure'; readonly why: ExtendedError | undefined }
  | { readonly at: 'bogus' | 'indeterminate'; readonly failure: Failure };

/** Only the records in `kept` were checked: all others must be left out. */
export interface SecureFinding {
  readonly at: 'secure';
  readonly ttlSec: number;
  /** By number of record. */
  readonly kept: readonly boolean[];
  /** TTLs of records that are longer than their signatures allow, by number of record. */
  readonly shorter: ReadonlyMap<number, number> | undefined;
  /** The RCODE that the records prove: the RCODE of the message is not signed. */
  readonly rcode: number;
  /** The clock is wrong, so the answer may be an old one. */
  readonly untimely: boolean;
}

/** A question and its answer. */
export interface AnswerToValidate {
  readonly name: Name;
  readonly type: number;
  readonly rcode: number;
  readonly sets: Sets;
  /** Records in answer and authority section. */
  readonly records: number;
}

/** The most aliases that are followed within one answer. */
export const MOST_ALIASES = 16;
/** The TTL of a part without records: it has no limit. */
const UNLIMITED_SEC = Infinity;

/** The result of validating a part of an answer. */
type Part = { readonly at: 'secure'; readonly ttlSec: number } | Exclude<Finding, { readonly at: 'secure' }>;

const SECURE: Part = { at: 'secure', ttlSec: UNLIMITED_SEC };
const bogus = ({ code, detail }: Flaw): Part => ({ at: 'bogus', failure: failure(code, detail) });
const flaw = (code: FailureCode, detail: string): Part => bogus({ code, detail });

/** What the state of a zone means for unsigned records in it. */
function unsignedPart(state: ZoneState, missing: Flaw): Part {
  switch (state.at) {
    case 'unsigned':
      return { at: 'insecure', why: state.why };
    case 'bogus':
      return bogus(state.flaw);
    case 'unknown':
      return { at: 'indeterminate', failure: state.failure };
    case 'signed':
    case 'no_cut':
      return bogus(missing);
  }
}

/** For states in which missing records cannot be a flaw. */
const NO_FLAW: Flaw = { code: 'bogus', detail: '' };

const PROOF_TEXT: Readonly<Record<Proof, string>> = {
  proven: 'proven',
  opt_out: 'proven, but for unsigned delegations',
  unproven: 'not proven',
};

/** The next link of the chain of aliases. */
type Link =
  /** The name is an alias. */
  | { readonly at: 'alias'; readonly part: Part; readonly target: Name }
  /** The chain ends here. */
  | { readonly at: 'end'; readonly part: Part };

class AnswerValidation {
  private readonly kept: boolean[];
  /** The zones that sign this answer. */
  private readonly zones: Name[] = [];
  private shorter: Map<number, number> | undefined = undefined;
  private ttlSec = UNLIMITED_SEC;
  private rcode: number = RCODE.NOERROR;

  constructor(
    private readonly chain: Chain,
    private readonly answer: AnswerToValidate,
  ) {
    this.kept = new Array<boolean>(answer.records).fill(false);
  }

  *validate(): Steps<Finding> {
    let { name } = this.answer;
    const seen: Name[] = [];
    let worst: Part = SECURE;
    for (;;) {
      const link = yield* this.link(name, seen.length);
      worst = worse(worst, link.part);
      if (link.at === 'end') break;
      seen.push(name);
      name = link.target;
      if (fails(worst) || seen.includes(name)) break;
    }
    if (worst.at === 'secure') worst = worse(worst, yield* this.rest());
    if (worst.at !== 'secure') return worst;
    const { ttlSec, kept, shorter, rcode, chain } = this;
    return { at: 'secure', ttlSec, kept, shorter, rcode, untimely: chain.untimely };
  }

  /** Validates what the answer says about one name of the chain of aliases; `aliases` counts the names before it. */
  private *link(name: Name, aliases: number): Steps<Link> {
    const { type, rcode, sets } = this.answer;
    const data = find(sets.answer, name, type);
    if (data !== undefined) {
      if (rcode === RCODE.NOERROR) return { at: 'end', part: yield* this.set(data) };
      const what = `${nameText(name)} ${typeToText(type)}`;
      return { at: 'end', part: flaw('bogus', `${what} is there, but the answer says ${rcodeToText(rcode)}`) };
    }
    if (aliases === MOST_ALIASES) {
      this.chain.run.budget.exceed('aliases');
      const detail = `${nameText(this.answer.name)}: more than ${MOST_ALIASES} aliases`;
      return { at: 'end', part: flaw('dnssec_limit', detail) };
    }
    const cname = find(sets.answer, name, TYPE.CNAME);
    const dname = sets.answer.find(
      ({ owner, type: each, rdata }) =>
        each === TYPE.DNAME && rdata.length > 0 && owner !== name && isWithin(name, owner),
    );
    if (dname !== undefined && (cname === undefined || cname.signatures.length === 0))
      return yield* this.redirect(name, dname, cname);
    if (cname !== undefined) return { at: 'alias', part: yield* this.set(cname), target: targetOf(cname) ?? name };
    return { at: 'end', part: yield* this.denied(name) };
  }

  /** A DNAME above a name, and the CNAME that was made from it, if there is one. */
  private *redirect(name: Name, dname: RRset, cname: RRset | undefined): Steps<Link> {
    const target = redirected(name, dname);
    if (target === undefined && this.answer.rcode === RCODE.YXDOMAIN && cname === undefined) {
      // RFC 6672 §2.2: the name that the DNAME makes is too long. The signed DNAME proves that.
      const part = yield* this.set(dname);
      this.rcode = RCODE.YXDOMAIN;
      return { at: 'end', part };
    }
    // The CNAME has no signature of its own: it must be the one that the DNAME makes (RFC 6672 §5.3.1), and must occur
    // once.
    if (target === undefined || (cname !== undefined && (targetOf(cname) !== target || cname.rdata.length > 1))) {
      const detail = `${nameText(name)} CNAME is not what the DNAME of ${nameText(dname.owner)} makes`;
      return { at: 'end', part: flaw('bogus', detail) };
    }
    const part = yield* this.set(dname);
    cname?.records.forEach(each => (this.kept[each] = true));
    return { at: 'alias', part, target };
  }

  private keep(set: RRset, ttlSec: number): Part {
    for (const { signer } of set.signatures) if (!this.zones.includes(signer)) this.zones.push(signer);
    for (const each of set.records) {
      this.kept[each] = true;
      if (ttlSec < set.ttlSec) (this.shorter ??= new Map()).set(each, ttlSec);
    }
    this.ttlSec = Math.min(this.ttlSec, ttlSec);
    return { at: 'secure', ttlSec };
  }

  /** An RRset of the answer, or one in the authority section. */
  private *set(set: RRset): Steps<Part> {
    const { owner, type } = set;
    const { chain } = this;
    const negative = chain.negative(owner);
    if (negative !== undefined) return unsignedPart(negative, NO_FLAW);
    const signer = chain.signerOf(set, owner);
    // A DS belongs to the parent of the zone that it is about (RFC 4035 §5.2).
    if (signer === undefined || (type === TYPE.DS && signer === owner)) {
      return unsignedPart(yield* chain.unsignedAt(type === TYPE.DS ? parentOf(owner) : owner), {
        code: 'rrsigs_missing',
        detail: `${setText(set)} has no signature of its zone`,
      });
    }
    const state = yield* chain.keysOf(signer);
    if (state.at !== 'signed')
      return unsignedPart(state, {
        code: 'bogus',
        detail: `${nameText(signer)}, which signed ${setText(set)}, is no zone`,
      });
    const checked = yield* chain.check(set, signer, state.keys);
    chain.run.note?.(
      signer,
      checked.at === 'good'
        ? `${setText(set)}: ${signedText(checked.signature, signer)}${checked.expanded ? ', made from a wildcard' : ''}`
        : checked.flaw.detail,
    );
    if (checked.at !== 'good') return bogus(checked.flaw);
    if (!checked.expanded) return this.keep(set, checked.ttlSec);
    const proof = yield* this.expanded(owner, checked.signature.labels, signer, state);
    return proof.at === 'secure' ? this.keep(set, Math.min(checked.ttlSec, proof.ttlSec)) : proof;
  }

  /** RFC 4035 §5.3.4: an RRset made from a wildcard is valid only if no closer name exists. */
  private *expanded(owner: Name, labels: number, zone: Name, state: Extract<ZoneState, { at: 'signed' }>): Steps<Part> {
    const denied = yield* checkDenial(this.chain, zone, state.keys, this.answer.sets.authority);
    if (denied.at === 'flawed') return bogus(denied.flaw);
    if (denied.at === 'too_many_iterations') return { at: 'insecure', why: denied.why };
    switch (denied.denial.noCloser(owner, labels)) {
      case 'proven':
        for (const each of denied.sets) this.keep(each, denied.ttlSec);
        return { at: 'secure', ttlSec: denied.ttlSec };
      case 'opt_out':
        return { at: 'insecure', why: undefined };
      case 'unproven':
        return flaw(
          'nsec_missing',
          `that a wildcard answers for ${nameText(owner)} is not proven by ${nameText(zone)}`,
        );
    }
  }

  /** The answer says that the name or the type does not exist. */
  private *denied(name: Name): Steps<Part> {
    const {
      type,
      rcode,
      sets: { authority },
    } = this.answer;
    const { chain } = this;
    const missing: Flaw = {
      code: 'nsec_missing',
      detail: `that there is no ${nameText(name)} ${typeToText(type)} is not proven`,
    };
    const negative = chain.negative(name);
    if (negative !== undefined) return unsignedPart(negative, NO_FLAW);
    const zones = chain
      .denialSigners(authority, name)
      .filter(signer => type !== TYPE.DS || signer !== name || name.length === 1);
    let found = missing;
    for (const zone of zones) {
      const state = yield* chain.keysOf(zone);
      if (state.at === 'no_cut') continue;
      if (state.at !== 'signed') return unsignedPart(state, missing);
      const denied = yield* checkDenial(chain, zone, state.keys, authority);
      if (denied.at === 'too_many_iterations') return { at: 'insecure', why: denied.why };
      if (denied.at === 'flawed') {
        found = denied.flaw;
        continue;
      }
      let proof: Proof = rcode === RCODE.NXDOMAIN ? denied.denial.noName(name) : 'unproven';
      this.rcode = proof === 'unproven' ? RCODE.NOERROR : RCODE.NXDOMAIN;
      if (rcode !== RCODE.NOERROR && rcode !== RCODE.NXDOMAIN) continue;
      // Some servers with NSEC answer NXDOMAIN for an empty non-terminal. The signed records decide.
      if (proof === 'unproven' && (rcode === RCODE.NOERROR || denied.sets.some(each => each.type === TYPE.NSEC)))
        proof = denied.denial.noData(name, type);
      chain.run.note?.(zone, `${nameText(name)} ${typeToText(type)}: that there is none is ${PROOF_TEXT[proof]}`);
      if (proof === 'opt_out') return { at: 'insecure', why: undefined };
      if (proof === 'unproven') continue;
      for (const each of denied.sets) this.keep(each, denied.ttlSec);
      return { at: 'secure', ttlSec: denied.ttlSec };
    }
    if (zones.length > 0) return bogus(found);
    return unsignedPart(yield* chain.unsignedAt(type === TYPE.DS ? parentOf(name) : name), missing);
  }

  /**
   * The other records of an answer that is secure so far: AD covers all of it (RFC 4035 §3.2.3). Some servers add NS
   * records without signatures: these are left out. Any other record that is not secure makes the answer bogus.
   */
  private *rest(): Steps<Part> {
    const { answer, authority } = this.answer.sets;
    if (!this.kept.includes(false)) return SECURE;
    for (const set of [...answer, ...authority]) {
      if (set.records.every(each => this.kept[each])) continue;
      if (set.type === TYPE.NS && set.signatures.length === 0 && set.section === 'authority') continue;
      const stranger = !set.signatures.every(({ signer }) => this.zones.includes(signer));
      const part = stranger
        ? flaw('bogus', `${setText(set)}, which nobody asked for, is of another zone`)
        : yield* this.set(set);
      if (part.at !== 'secure') return part;
    }
    return SECURE;
  }
}

const fails = ({ at }: Part): boolean => at === 'bogus' || at === 'indeterminate';

const ORDER = ['secure', 'insecure', 'indeterminate', 'bogus'];
const worse = (a: Part, b: Part): Part => (ORDER.indexOf(b.at) > ORDER.indexOf(a.at) ? b : a);

/** The target of a CNAME or DNAME; undefined if there are several. */
function targetOf(set: RRset): Name | undefined {
  const only = onlyRdata(set);
  return only && readCanonical(only, 0)?.name;
}

/** The RRset of a name and type in a section, if it has records. */
function find(sets: readonly RRset[], owner: Name, type: number): RRset | undefined {
  for (const each of sets) if (each.type === type && each.owner === owner && each.rdata.length > 0) return each;
  return undefined;
}

/** The name that a DNAME makes of a name below it (RFC 6672 §2.2); undefined: it is not valid. */
function redirected(name: Name, dname: RRset): Name | undefined {
  const target = targetOf(dname);
  // RFC 6672 §2.4: a name has one DNAME.
  if (target === undefined || dname.rdata.length > 1) return undefined;
  const made = name.slice(0, name.length - dname.owner.length) + target;
  return made.length > MAX_NAME_BYTES ? undefined : made;
}

/** Validates an answer. */
export const validate = (chain: Chain, answer: AnswerToValidate): Steps<Finding> =>
  new AnswerValidation(chain, answer).validate();
