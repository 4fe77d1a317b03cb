// One answer, judged (RFC 4035 §5): each link of its chain of aliases on its own, then the data or the denial at its end.

import type { FailureCode } from '../base/outcome.js';
import { failure, type Failure } from '../base/outcome.js';
import type { ExtendedError } from '../wire/edns.js';
import { MAX_NAME_BYTES } from '../wire/name.js';
import { rcodeToText } from '../wire/rcode.js';
import { TYPE, typeToText } from '../wire/rrtype.js';
import { type Chain, signedText } from './chain.js';
import type { Proof } from './denial.js';
import { isWithin, type Name, nameText, parentOf, readCanonical } from './name.js';
import { onlyRdata, type RRset, type Sets, setText } from './rrset.js';
import type { Flaw } from './signature.js';
import type { Steps } from './steps.js';
import type { ZoneState } from './zones.js';

/** What came of it (RFC 4035 §4.3). */
export type Finding =
  /** Only the records in `kept` were checked: others have to go. */
  | {
      readonly at: 'secure';
      readonly ttlSec: number;
      /** By number of record. */ readonly kept: readonly boolean[];
      /** TTLs of records that claim to last longer than they do. */ readonly shorter:
        ReadonlyMap<number, number> | undefined;
      /** The RCODE that the records speak of: the message's own is signed by nobody. */ readonly rcode: number;
      /** Nobody knows the time: it may have been true once. */ readonly untimely: boolean;
    }
  | { readonly at: 'insecure'; readonly why: ExtendedError | undefined }
  | { readonly at: 'bogus' | 'indeterminate'; readonly failure: Failure };

/** Aliases that are followed within one answer. */
const MOST_ALIASES = 16;

/** What is asked and what was answered. */
export interface Judged {
  readonly name: Name;
  readonly type: number;
  readonly rcode: number;
  readonly sets: Sets;
  /** Records in answer and authority. */
  readonly records: number;
}

const NOERROR = 0;
const NXDOMAIN = 3;
const YXDOMAIN = 6;

/** A part of an answer, judged. */
type Part = { readonly at: 'secure'; readonly ttlSec: number } | Exclude<Finding, { readonly at: 'secure' }>;

const bogus = ({ code, detail }: Flaw): Part => ({ at: 'bogus', failure: failure(code, detail) });
const flaw = (code: FailureCode, detail: string): Part => bogus({ code, detail });

/** What the state of a zone means for something that it did not sign. */
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

const NOTHING: Flaw = { code: 'bogus', detail: '' };

class Judge {
  private readonly kept: boolean[];
  /** Whose signatures count in this answer. */
  private readonly zones: Name[] = [];
  private shorter: Map<number, number> | undefined = undefined;
  private ttlSec = Infinity;
  private rcode = NOERROR;

  constructor(
    private readonly chain: Chain,
    private readonly asked: Judged,
  ) {
    this.kept = new Array<boolean>(asked.records).fill(false);
  }

  *judge(): Steps<Finding> {
    const { answer } = this.asked.sets;
    const { type, rcode } = this.asked;
    let { name } = this.asked;
    const seen: Name[] = [];
    let worst: Part = { at: 'secure', ttlSec: Infinity };
    const stop = (): boolean => worst.at === 'bogus' || worst.at === 'indeterminate';
    for (let aliases = 0; ; aliases++) {
      const data = find(answer, name, type);
      if (data !== undefined) {
        worst = worse(
          worst,
          rcode === NOERROR
            ? yield* this.set(data)
            : flaw(
                'bogus',
                `${nameText(name)} ${typeToText(type)} is there, but the answer says ${rcodeToText(rcode)}`,
              ),
        );
        break;
      }
      if (aliases === MOST_ALIASES) {
        this.chain.run.budget.exceed('aliases');
        return {
          at: 'bogus',
          failure: failure('dnssec_limit', `${nameText(this.asked.name)}: more than ${MOST_ALIASES} aliases`),
        };
      }
      const alias = find(answer, name, TYPE.CNAME);
      const above = answer.find(
        ({ owner, type: each, rdata }) =>
          each === TYPE.DNAME && rdata.length > 0 && owner !== name && isWithin(name, owner),
      );
      seen.push(name);
      if (above !== undefined && (alias === undefined || alias.signatures.length === 0)) {
        const target = redirected(name, above);
        if (target === undefined && rcode === YXDOMAIN && alias === undefined) {
          // RFC 6672 §2.2: the name that the DNAME makes is too long. That is all there is to say, and it is signed.
          worst = worse(worst, yield* this.set(above));
          this.rcode = YXDOMAIN;
          break;
        }
        // The CNAME that a DNAME makes has no signature: it must be what the DNAME says (RFC 6672 §5.3.1), and said once.
        if (target === undefined || (alias !== undefined && (targetOf(alias) !== target || alias.rdata.length > 1))) {
          worst = worse(
            worst,
            flaw('bogus', `${nameText(name)} CNAME is not what the DNAME of ${nameText(above.owner)} makes`),
          );
          break;
        }
        worst = worse(worst, yield* this.set(above));
        alias?.records.forEach(each => (this.kept[each] = true));
        name = target;
      } else if (alias !== undefined) {
        worst = worse(worst, yield* this.set(alias));
        name = targetOf(alias) ?? name;
      } else {
        if (!stop()) worst = worse(worst, yield* this.denied(name));
        break;
      }
      if (stop() || seen.includes(name)) break;
    }
    if (worst.at === 'secure') worst = worse(worst, yield* this.rest());
    return worst.at === 'secure'
      ? {
          at: 'secure',
          ttlSec: this.ttlSec,
          kept: this.kept,
          shorter: this.shorter,
          rcode: this.rcode,
          untimely: this.chain.untimely,
        }
      : worst;
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
    if (negative !== undefined) return unsignedPart(negative, NOTHING);
    const signer = chain.signerOf(set, owner);
    // A DS belongs to the zone above the one it speaks of (RFC 4035 §5.2).
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

  /** RFC 4035 §5.3.4: what is made from a wildcard holds only where nothing closer exists. */
  private *expanded(owner: Name, labels: number, zone: Name, state: Extract<ZoneState, { at: 'signed' }>): Steps<Part> {
    const denied = yield* this.chain.denialOf(zone, state.keys, this.asked.sets.authority);
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

  /** There is nothing: no such name, or no such type. */
  private *denied(name: Name): Steps<Part> {
    const {
      type,
      rcode,
      sets: { authority },
    } = this.asked;
    const { chain } = this;
    const missing: Flaw = {
      code: 'nsec_missing',
      detail: `that there is no ${nameText(name)} ${typeToText(type)} is not proven`,
    };
    const negative = chain.negative(name);
    if (negative !== undefined) return unsignedPart(negative, NOTHING);
    const zones = chain
      .denialSigners(authority, name)
      .filter(signer => type !== TYPE.DS || signer !== name || name.length === 1);
    let found = missing;
    for (const zone of zones) {
      const state = yield* chain.keysOf(zone);
      if (state.at === 'no_cut') continue;
      if (state.at !== 'signed') return unsignedPart(state, missing);
      const denied = yield* chain.denialOf(zone, state.keys, authority);
      if (denied.at === 'too_many_iterations') return { at: 'insecure', why: denied.why };
      if (denied.at === 'flawed') {
        found = denied.flaw;
        continue;
      }
      let proof: Proof = rcode === NXDOMAIN ? denied.denial.noName(name) : 'unproven';
      this.rcode = proof === 'unproven' ? NOERROR : NXDOMAIN;
      if (rcode !== NOERROR && rcode !== NXDOMAIN) continue;
      // Some servers with NSEC say NXDOMAIN for a name without records that has names below; what is signed counts.
      if (proof === 'unproven' && (rcode === NOERROR || denied.sets.some(each => each.type === TYPE.NSEC)))
        proof = denied.denial.noData(name, type);
      chain.run.note?.(
        zone,
        `${nameText(name)} ${typeToText(type)}: that there is none is ${proof === 'unproven' ? 'not proven' : 'proven'}${proof === 'opt_out' ? ', but for unsigned delegations' : ''}`,
      );
      if (proof === 'opt_out') return { at: 'insecure', why: undefined };
      if (proof === 'unproven') continue;
      for (const each of denied.sets) this.keep(each, denied.ttlSec);
      return { at: 'secure', ttlSec: denied.ttlSec };
    }
    if (zones.length > 0) return bogus(found);
    return unsignedPart(yield* chain.unsignedAt(type === TYPE.DS ? parentOf(name) : name), missing);
  }

  /**
   * The rest of an answer that would be secure: AD speaks of all of it (RFC 4035 §3.2.3). The NS records that some servers add
   * without signatures are left out; who adds anything else that does not hold is not to be believed.
   */
  private *rest(): Steps<Part> {
    const { answer, authority } = this.asked.sets;
    if (!this.kept.includes(false)) return { at: 'secure', ttlSec: Infinity };
    for (const set of [...answer, ...authority]) {
      if (set.records.every(each => this.kept[each])) continue;
      if (set.type === TYPE.NS && set.signatures.length === 0 && set.section === 'authority') continue;
      const stranger = !set.signatures.every(({ signer }) => this.zones.includes(signer));
      const part = stranger
        ? flaw('bogus', `${setText(set)}, which nobody asked for, is of another zone`)
        : yield* this.set(set);
      if (part.at !== 'secure') return part;
    }
    return { at: 'secure', ttlSec: Infinity };
  }
}

const ORDER = ['secure', 'insecure', 'indeterminate', 'bogus'];
const worse = (a: Part, b: Part): Part => (ORDER.indexOf(b.at) > ORDER.indexOf(a.at) ? b : a);

/** A CNAME's target; more than one is nonsense. */
function targetOf(set: RRset): Name | undefined {
  const only = onlyRdata(set);
  return only && readCanonical(only, 0)?.name;
}

/** The RRset of a name and type in a section, if it has records. */
function find(sets: readonly RRset[], owner: Name, type: number): RRset | undefined {
  for (const each of sets) if (each.type === type && each.owner === owner && each.rdata.length > 0) return each;
  return undefined;
}

/** Where a DNAME sends a name below it (RFC 6672 §2.2); undefined: nowhere. */
function redirected(name: Name, dname: RRset): Name | undefined {
  const target = targetOf(dname);
  // RFC 6672 §2.4: one to a name; no server says it twice.
  if (target === undefined || dname.rdata.length > 1) return undefined;
  const made = name.slice(0, name.length - dname.owner.length) + target;
  return made.length > MAX_NAME_BYTES ? undefined : made;
}

/** Judges an answer. */
export const judge = (chain: Chain, asked: Judged): Steps<Finding> => new Judge(chain, asked).judge();
