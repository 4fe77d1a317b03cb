// Validates one answer (RFC 4035 §5): first each link of its chain of aliases, then the data or the denial at the end.

import { failure, type Failure, type FailureCode, RCODE } from '../base/outcome.js';
import type { ExtendedError } from '../wire/edns.js';
import { MAX_NAME_BYTES } from '../wire/name.js';
import { rcodeToText } from '../wire/rcode.js';
import { TYPE, typeToText } from '../wire/rrtype.js';
import { type Chain, hashLimit } from './chain.js';
import type { Proof } from './denial.js';
import { checkDenial, type DenialCheck } from './denial-check.js';
import type { Dnskey } from './dnskey.js';
import { signedText } from './explain.js';
import { ancestorOf, isWithin, labelCount, type Name, nameText, parentOf, readCanonical, wildcardOf } from './name.js';
import { onlyRdata, type RRset, type Sets, setText } from './rrset.js';
import type { Flaw } from './signature.js';
import type { Steps } from './steps.js';
import type { ZoneState } from './zones.js';

/** The result of validating an answer (RFC 4035 §4.3). */
export type Finding =
  | SecureFinding
  | { readonly at: 'insecure'; readonly why: ExtendedError | undefined }
  /** `limit`: the question has used up what it may compute or ask, so nothing is known. */
  | { readonly at: 'bogus' | 'indeterminate' | 'limit'; readonly failure: Failure };

/** Only the records in `kept` were checked: all others must be left out. */
export interface SecureFinding {
  readonly at: 'secure';
  readonly ttlSec: number;
  /** Seconds until a signature expires; it may be longer than the TTL. */
  readonly verdictSec: number;
  /** By number of record. */
  readonly kept: readonly boolean[];
  /** TTLs of records that are longer than their signatures allow, by number of record. */
  readonly shorter: ReadonlyMap<number, number> | undefined;
  /** The RCODE that the records prove: the RCODE of the message is not signed. */
  readonly rcode: number;
  /** The clock is wrong, so the answer may be an old one. */
  readonly untimely: boolean;
  /** What it proves about more names than its own (RFC 8198). */
  readonly proven: readonly ProvenSet[];
}

/** A validated RRset that other names can be answered from: a denial, the SOA of its zone, or a wildcard's data. */
export interface ProvenSet {
  /** The zone that has signed it. */
  readonly zone: Name;
  readonly set: RRset;
  /** The owner in the zone: that of `set`, or the wildcard that it was made from. */
  readonly owner: Name;
  readonly ttlSec: number;
}

/** A question and its answer. */
export interface AnswerToValidate {
  readonly name: Name;
  readonly type: number;
  readonly rcode: number;
  readonly sets: Sets;
  /** Records in answer and authority section. */
  readonly records: number;
  /** Where its last alias leads, if others answer for that: then the answer ends there. */
  readonly unfollowed?: Name | undefined;
}

/** Denial records whose signatures are good. */
type ProvenDenial = Extract<DenialCheck, { at: 'denial' }>;

/** The most aliases that are followed within one answer. */
export const MOST_ALIASES = 16;
/** The TTL of a part without records: it has no limit. */
const UNLIMITED_SEC = Infinity;

/** The result of validating a part of an answer. */
type Part = { readonly at: 'secure'; readonly ttlSec: number } | Exclude<Finding, { readonly at: 'secure' }>;

const NOTHING: readonly ProvenSet[] = [];
const SECURE: Part = { at: 'secure', ttlSec: UNLIMITED_SEC };
const bogus = ({ code, detail }: Flaw): Part => ({ at: 'bogus', failure: failure(code, detail) });
const limit = (failed: Failure): Finding => ({
  at: 'limit',
  failure: failure('dnssec_limit', failed.detail),
});
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
  limit: 'not known, because it takes too many hashes',
};

/** The next link of the chain of aliases. */
type Link =
  /** The name is an alias. */
  | { readonly at: 'alias'; readonly part: Part; readonly target: Name }
  /** The chain ends here. */
  | { readonly at: 'end'; readonly part: Part };

class AnswerValidation {
  private readonly kept: boolean[];
  /** The zones that deny something in this answer. */
  private readonly denying: Name[] = [];
  private proven: ProvenSet[] | undefined = undefined;
  private shorter: Map<number, number> | undefined = undefined;
  /** The denial records by zone: each alias that a wildcard answers for needs them, and they are many. */
  private denials: Map<Name, DenialCheck> | undefined = undefined;
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
      if (seen.includes(name)) worst = flaw('alias_loop', nameText(this.answer.name));
      if (fails(worst) || name === this.answer.unfollowed) break;
    }
    if (worst.at === 'secure') worst = worse(worst, yield* this.denyingSoa());
    if ((worst.at === 'bogus' || worst.at === 'indeterminate') && this.chain.run.budget.exceeded !== undefined)
      return limit(worst.failure);
    if (worst.at !== 'secure') return worst;
    const { ttlSec, kept, shorter, rcode, chain } = this;
    const { verdictSec, untimely } = chain;
    return { at: 'secure', ttlSec, verdictSec, kept, shorter, rcode, untimely, proven: this.proven ?? NOTHING };
  }

  /** Validates what the answer says about one name of the chain of aliases; `aliases` counts the names before it. */
  private *link(name: Name, aliases: number): Steps<Link> {
    const { type, rcode, sets } = this.answer;
    const cname = find(sets.answer, name, TYPE.CNAME);
    const dname = sets.answer.find(
      ({ owner, type: each, rdata }) =>
        each === TYPE.DNAME && rdata.length > 0 && owner !== name && isWithin(name, owner),
    );
    // A signature by somebody else on the CNAME that the DNAME makes changes nothing.
    const redirects =
      dname !== undefined &&
      (cname === undefined || cname.signatures.length === 0 || targetOf(cname) === redirected(name, dname));
    if (redirects && type === TYPE.CNAME && cname !== undefined) {
      // It is the CNAME that is asked for: it is not followed.
      const { part } = yield* this.redirect(name, dname, cname);
      return { at: 'end', part };
    }
    const data = find(sets.answer, name, type);
    if (data !== undefined) {
      if (rcode === RCODE.NOERROR) return { at: 'end', part: yield* this.set(data) };
      const what = `${nameText(name)} ${typeToText(type)}`;
      return { at: 'end', part: flaw('bogus', `${what} is there, but the answer says ${rcodeToText(rcode)}`) };
    }
    if (aliases === MOST_ALIASES) return { at: 'end', part: flaw('alias_loop', nameText(this.answer.name)) };
    if (redirects) return yield* this.redirect(name, dname, cname);
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
    for (const each of cname?.records ?? []) {
      this.kept[each] = true;
      // RFC 6672 §3.1: it has the TTL of the DNAME.
      if (part.at === 'secure') (this.shorter ??= new Map()).set(each, part.ttlSec);
    }
    return { at: 'alias', part, target };
  }

  private keep(set: RRset, ttlSec: number): Part {
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
    const within = type === TYPE.DS ? parentOf(owner) : owner;
    const negative = chain.negative(within);
    if (negative !== undefined) return unsignedPart(negative, NO_FLAW);
    let failed: Part | undefined;
    for (const signer of chain.signersOf(set)) {
      const part = yield* this.signedBy(set, signer);
      if (!fails(part)) return part;
      failed ??= part;
    }
    // Signatures say nothing about records of an unsigned zone.
    const missing: Flaw = { code: 'rrsigs_missing', detail: `${setText(set)} has no signature of its zone` };
    const part = unsignedPart(yield* chain.unsignedAt(within), missing);
    return part.at === 'insecure' ? part : (failed ?? part);
  }

  /** An RRset, as far as the signatures of one zone prove it. */
  private *signedBy(set: RRset, signer: Name): Steps<Part> {
    const { owner } = set;
    const { chain } = this;
    const state = yield* chain.signerOf(set.type === TYPE.DS ? parentOf(owner) : owner, signer);
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
    // A parent cannot sign for its child. A DS is the parent's.
    const zoneLabels = checked.expanded ? checked.signature.labels : labelCount(owner);
    const below = yield* chain.zoneBelow(signer, owner, set.type === TYPE.DS ? zoneLabels - 1 : zoneLabels);
    if (below !== undefined)
      return unsignedPart(below, {
        code: 'bogus',
        detail: `${setText(set)} is in a zone below ${nameText(signer)}, which signed it`,
      });
    if (!checked.expanded) return this.keep(set, checked.ttlSec);
    const proof = yield* this.expanded(owner, checked.signature.labels, signer, state);
    if (proof.at !== 'secure') return proof;
    this.learn(signer, set, checked.ttlSec, wildcardOf(ancestorOf(owner, checked.signature.labels)));
    return this.keep(set, Math.min(checked.ttlSec, proof.ttlSec));
  }

  /** RFC 4035 §5.3.4: an RRset made from a wildcard is valid only if no closer name exists. */
  private *expanded(owner: Name, labels: number, zone: Name, state: Extract<ZoneState, { at: 'signed' }>): Steps<Part> {
    const denied = yield* this.denialOf(zone, state.keys);
    if (denied.at === 'flawed') return bogus(denied.flaw);
    if (denied.at === 'too_many_iterations') return { at: 'insecure', why: denied.why };
    switch (yield* denied.denial.noCloser(owner, labels)) {
      case 'proven':
        return this.keepDenial(zone, denied);
      case 'opt_out':
        return { at: 'insecure', why: undefined };
      case 'unproven':
        return flaw(
          'nsec_missing',
          `that a wildcard answers for ${nameText(owner)} is not proven by ${nameText(zone)}`,
        );
      case 'limit':
        return bogus(hashLimit(owner));
    }
  }

  private *denialOf(zone: Name, keys: readonly Dnskey[]): Steps<DenialCheck> {
    const known = this.denials?.get(zone);
    if (known !== undefined) return known;
    const made = yield* checkDenial(this.chain, zone, keys, this.answer.sets.authority);
    (this.denials ??= new Map()).set(zone, made);
    return made;
  }

  private learn(zone: Name, set: RRset, ttlSec: number, owner = set.owner): void {
    (this.proven ??= []).push({ zone, set, owner, ttlSec });
  }

  private keepDenial(zone: Name, { sets, ttlSec }: ProvenDenial): Part {
    for (const each of sets) this.keep(each, ttlSec);
    // Several aliases may have the same proof.
    if (!this.denying.includes(zone)) for (const each of sets) this.learn(zone, each, ttlSec);
    this.denying.push(zone);
    return { at: 'secure', ttlSec };
  }

  /** The answer says that the name or the type does not exist. */
  private *denied(name: Name): Steps<Part> {
    const {
      type,
      rcode,
      sets: { authority },
    } = this.answer;
    const { chain } = this;
    let found: Flaw = {
      code: 'nsec_missing',
      detail: `that there is no ${nameText(name)} ${typeToText(type)} is not proven`,
    };
    const within = type === TYPE.DS ? parentOf(name) : name;
    const negative = chain.negative(within);
    if (negative !== undefined) return unsignedPart(negative, NO_FLAW);
    let unknown: ZoneState | undefined;
    for (const zone of chain.denialSigners(authority, name, type)) {
      const state = yield* chain.signerOf(within, zone);
      if (state.at === 'no_cut') continue;
      if (state.at === 'bogus') {
        found = state.flaw;
        continue;
      }
      if (state.at === 'unknown') {
        unknown ??= state;
        continue;
      }
      if (state.at !== 'signed') return unsignedPart(state, found);
      const denied = yield* this.denialOf(zone, state.keys);
      if (denied.at === 'too_many_iterations') {
        // That proves nothing, least of all about another zone or anchor below.
        const below = yield* chain.zoneBelow(zone, within, labelCount(within), 'look');
        if (below === undefined && !chain.isOverruled(zone, within)) return { at: 'insecure', why: denied.why };
        continue;
      }
      if (denied.at === 'flawed') {
        found = denied.flaw;
        continue;
      }
      const proof = yield* this.proofOf(name, rcode, denied);
      chain.run.note?.(zone, `${nameText(name)} ${typeToText(type)}: that there is none is ${PROOF_TEXT[proof]}`);
      if (proof === 'limit') return bogus(hashLimit(name));
      if (proof === 'unproven') continue;
      // A parent cannot deny what is in its child.
      if ((yield* chain.zoneBelow(zone, within, labelCount(within), 'look')) !== undefined) continue;
      return proof === 'opt_out' ? { at: 'insecure', why: undefined } : this.keepDenial(zone, denied);
    }
    // It may be in an unsigned zone, whatever denials of zones above that stand here.
    const part = unsignedPart(yield* chain.unsignedAt(within), found);
    return part.at === 'bogus' && unknown !== undefined ? unsignedPart(unknown, found) : part;
  }

  /** What denial records prove about a name without the data that was asked for. Notes the RCODE that they prove. */
  private *proofOf(name: Name, rcode: number, { denial, sets }: ProvenDenial): Steps<Proof> {
    if (rcode !== RCODE.NOERROR && rcode !== RCODE.NXDOMAIN) return 'unproven';
    const noName = rcode === RCODE.NXDOMAIN ? yield* denial.noName(name) : 'unproven';
    this.rcode = noName === 'unproven' ? RCODE.NOERROR : RCODE.NXDOMAIN;
    if (noName !== 'unproven') return noName;
    // Some servers with NSEC answer NXDOMAIN for an empty non-terminal. The signed records decide.
    const mayHaveData = rcode === RCODE.NOERROR || sets.some(each => each.type === TYPE.NSEC);
    return mayHaveData ? yield* denial.noData(name, this.answer.type) : 'unproven';
  }

  /**
   * The SOA of a zone that denies something tells clients for how long. It must be secure, too: AD covers all of an answer
   * (RFC 4035 §3.2.3). All other records are left out.
   */
  private *denyingSoa(): Steps<Part> {
    for (const set of this.answer.sets.authority) {
      if (set.type !== TYPE.SOA || set.rdata.length === 0 || !this.denying.includes(set.owner)) continue;
      const part = yield* this.set(set);
      if (part.at !== 'secure') return part;
      this.learn(set.owner, set, part.ttlSec);
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
