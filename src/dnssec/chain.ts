// The chain of trust (RFC 4035 §5): from a trust anchor down through every zone cut, or the proof that it ends.
//
//   keysOf(zone)      what a name is, as a zone: asks for its DS, which its parent signed, and for its DNSKEY
//   unsignedAt(name)  whether something without signatures may stand there: only below a proven unsigned delegation
//
// The signature of a DS RRset names the zone above. So the zones above a name are found from the answers, and labels
// are tried one by one only where there are no signatures.

import { failure, RCODE } from '../base/outcome.js';
import type { AgeSec, WallSec } from '../base/time.js';
import { TYPE } from '../wire/rrtype.js';
import { type Anchor, anchorFor } from './anchors.js';
import type { Budget } from './budget.js';
import { checkDenial } from './denial-check.js';
import { type Dnskey, readDs, type Sha1 } from './dnskey.js';
import { dsText, signedText, stateText } from './explain.js';
import { delegationOf, keyEntry, type TrustedKeys, usableAnchor } from './key-entry.js';
import { ancestorOf, isWithin, labelCount, type Name, nameText, parentOf, ROOT_NAME } from './name.js';
import type { RRset } from './rrset.js';
import type { Flaw, SignatureCheck, Verifier } from './signature.js';
import { type Lookup, lookupKey, type LookupResult, type Steps } from './steps.js';
import { nearestKnown, type Zones, type ZoneState } from './zones.js';

/**
 * Called when the DNSKEY RRset of an anchor's zone was checked; `validated`: a trusted key has signed it (RFC 5011).
 */
export type OnAnchorKeys = (
  zone: Name,
  keys: readonly Dnskey[],
  set: RRset,
  validated: boolean,
  wallNow: WallSec,
) => void;

/** Options that validation depends on. */
export interface ValidatorSettings {
  readonly sha1: Sha1;
  readonly maxNsec3Iterations: number;
  /** Names that may be resolved with a clock that is known to be wrong, so that it can be set. */
  readonly clockNames: readonly Name[];
}

/** The parts of the chain, the same for all questions. */
export interface ChainParts {
  readonly zones: Zones;
  readonly verifier: Verifier;
  /** The negative trust anchor that covers a name (RFC 7646). */
  readonly negativeAnchorOf: (name: Name) => Name | undefined;
  readonly onAnchorKeys?: OnAnchorKeys;
}

/** The context of one question. Settings and anchors are those in force when it began. */
export interface ChainRun {
  readonly settings: ValidatorSettings;
  readonly anchors: readonly Anchor[];
  /**
   * The epoch of the table of zones when the question began. After something was forgotten, this question stores no
   * states.
   */
  readonly epoch: number;
  readonly budget: Budget;
  /** The time for signatures. */
  readonly wallNow: WallSec;
  /** The time for stored states. */
  readonly ageNow: AgeSec;
  /**
   * The clock is known to be wrong, and this name may be needed to set it: dates of signatures are ignored, and nothing
   * is stored.
   */
  readonly timeless: boolean;
  /** A bogus state is stored, because no other server is left that could answer differently. */
  readonly final: boolean;
  /** The results of lookups. */
  readonly results: ReadonlyMap<string, LookupResult>;
  /** Called with each step, for a trace. */
  readonly note: ((zone: Name, words: string) => void) | undefined;
}

/** How long a state is remembered. */
type Lasting =
  /** As long as the records and signatures that prove it are valid. */
  | { readonly forSec: number }
  /** For BOGUS_SEC, and only if the question is final. */
  | 'failure'
  /** For this question only. */
  | 'this question';

/** A state, and how long it is remembered. */
interface ZoneFinding {
  readonly state: ZoneState;
  readonly lasts: Lasting;
}

/** RFC 4035 §4.7: how long a zone stays bogus before it is checked again. */
export const BOGUS_SEC = 60;
/** How many possible zone cuts are asked about at once, if nothing shows where the cuts are. */
const CUTS_AT_ONCE = 8;

const NO_CUT: ZoneState = { at: 'no_cut' };
const UNSIGNED: ZoneState = { at: 'unsigned', why: undefined };

/** The chain for one question. */
export class Chain {
  /** States that this question has found. */
  private memo: Map<Name, ZoneState> | undefined = undefined;
  /** Whether a signature was accepted although its dates are wrong. */
  untimely = false;

  constructor(
    private readonly parts: ChainParts,
    readonly run: ChainRun,
  ) {}

  /** Looks something up; `alsoType` is asked for at the same time, because it will be needed next. */
  private *lookup(lookup: Lookup, alsoType?: number): Steps<LookupResult> {
    const key = lookupKey(lookup);
    const { results, budget } = this.run;
    if (!results.has(key)) {
      if (!budget.takeLookup()) {
        const detail = `more than that many questions for ${nameText(lookup.name)}`;
        return { at: 'failure', failure: failure('dnssec_limit', detail) };
      }
      const also = alsoType === undefined ? undefined : { name: lookup.name, type: alsoType };
      const both = also !== undefined && !results.has(lookupKey(also)) && budget.takeLookup();
      yield { at: 'lookups', lookups: both ? [lookup, also] : [lookup] };
    }
    return (
      this.run.results.get(key) ?? { at: 'failure', failure: failure('dnssec_indeterminate', nameText(lookup.name)) }
    );
  }

  /** Checks the signatures of an RRset. */
  *check(set: RRset, zone: Name, keys: readonly Dnskey[]): Steps<SignatureCheck> {
    const { budget, wallNow } = this.run;
    const checked = yield* this.parts.verifier.check(set, zone, keys, wallNow, budget);
    if (checked.at !== 'untimely') return checked;
    if (!this.run.timeless) return { at: 'flawed', flaw: checked.flaw };
    this.untimely = true;
    return { at: 'good', signature: checked.signature, ttlSec: 0, expanded: checked.expanded };
  }

  /** The state of a name that the configuration says is unsigned. */
  negative(name: Name): ZoneState | undefined {
    const anchor = anchorFor(this.run.anchors, name);
    if (anchor === undefined) return UNSIGNED;
    const negative = this.parts.negativeAnchorOf(name);
    // A trust anchor below a negative one has precedence (RFC 7646 §2).
    return negative !== undefined && isWithin(negative, anchor.zone) ? UNSIGNED : undefined;
  }

  /** The signer of an RRset, if it is a zone that may sign records of this name. */
  signerOf({ signatures: [first] }: RRset, name: Name): Name | undefined {
    return first !== undefined && this.maySpeak(first.signer, name) ? first.signer : undefined;
  }

  /** The signers of denial records that may sign records of this name; the nearest first. */
  denialSigners(authority: readonly RRset[], name: Name): readonly Name[] {
    const signers = authority.flatMap(({ type, signatures }) =>
      type === TYPE.NSEC || type === TYPE.NSEC3 ? signatures.map(({ signer }) => signer) : [],
    );
    return [...new Set(signers)].filter(signer => this.maySpeak(signer, name)).sort((a, b) => b.length - a.length);
  }

  /** Zones above the anchor are excluded: nothing is known about them, so they would count as unsigned. */
  private maySpeak(signer: Name, name: Name): boolean {
    return isWithin(name, signer) && isWithin(signer, anchorFor(this.run.anchors, name)?.zone ?? ROOT_NAME);
  }

  private known(name: Name): ZoneState | undefined {
    return this.memo?.get(name) ?? (this.run.timeless ? undefined : this.parts.zones.get(name, this.run.ageNow));
  }

  /** The nearest known state above a name, or at it. */
  private knownAbove(name: Name, top: Name): ReturnType<typeof nearestKnown> {
    return this.run.timeless ? undefined : nearestKnown(this.parts.zones, name, top, this.run.ageNow);
  }

  private keep(name: Name, state: ZoneState, lasts: Lasting): ZoneState {
    const { run, parts } = this;
    (this.memo ??= new Map()).set(name, state);
    run.note?.(name, stateText(name, state, typeof lasts === 'object' ? lasts.forSec : undefined));
    if (lasts === 'this question' || run.timeless || run.epoch !== parts.zones.epoch) return state;
    if (lasts !== 'failure') parts.zones.put(name, state, run.ageNow, lasts.forSec);
    else if (run.final) parts.zones.put(name, state, run.ageNow, BOGUS_SEC);
    return state;
  }

  /**
   * Stores a bogus state. A state that only exceeds a limit of this question is not stored: it may be fine for the next
   * question.
   */
  private keepBogus(name: Name, flaw: Flaw): ZoneState {
    return this.keep(name, { at: 'bogus', flaw }, bogusLasts(flaw));
  }

  /** The state of `zone`. */
  *keysOf(zone: Name): Steps<ZoneState> {
    const negative = this.negative(zone);
    if (negative !== undefined) return negative;
    const known = this.known(zone);
    if (known !== undefined) return known;
    const anchor = anchorFor(this.run.anchors, zone);
    if (anchor?.zone === zone) return yield* this.anchored(anchor);
    const above = anchor === undefined ? undefined : this.knownAbove(parentOf(zone), anchor.zone);
    if (above?.state.at === 'unsigned' || above?.state.at === 'bogus') return above.state;
    // The zone has signed something, so it has keys.
    const answer = yield* this.lookup({ name: zone, type: TYPE.DS }, TYPE.DNSKEY);
    if (answer.at === 'failure') return this.keep(zone, { at: 'unknown', failure: answer.failure }, 'this question');
    const ds = answer.rcode === RCODE.NOERROR ? dataAt(answer.sets.answer, zone, TYPE.DS) : undefined;
    if (ds !== undefined) return yield* this.delegated(zone, ds);
    const alias = answer.sets.answer.find(({ owner, type }) => owner === zone && type === TYPE.CNAME);
    return alias === undefined
      ? yield* this.undelegated(zone, answer.sets.authority)
      : yield* this.aliased(zone, alias);
  }

  /** A name with an alias is not a zone cut (RFC 1034 §3.6.2). */
  private *aliased(zone: Name, alias: RRset): Steps<ZoneState> {
    const link = yield* this.checkByParent(zone, alias);
    return link.at === 'good' ? this.keep(zone, NO_CUT, { forSec: link.ttlSec }) : link.state;
  }

  /**
   * Checks an RRset at `zone` with the keys of the parent that signed it. If that fails, returns the state of `zone`
   * that follows.
   */
  private *checkByParent(
    zone: Name,
    set: RRset,
  ): Steps<{ readonly at: 'good'; readonly ttlSec: number } | { readonly at: 'state'; readonly state: ZoneState }> {
    const parent = this.signerOf(set, zone);
    const what = `${nameText(zone)} ${set.type === TYPE.DS ? 'DS' : 'CNAME'}`;
    if (parent === undefined || parent === zone) {
      const detail = `${what} has no signature of a zone above it`;
      return { at: 'state', state: yield* this.unsignedOr(zone, { code: 'rrsigs_missing', detail }) };
    }
    const state = yield* this.keysOf(parent);
    const refused = (flaw: Flaw) => ({ at: 'state', state: this.keepBogus(zone, flaw) }) as const;
    if (state.at === 'no_cut')
      return refused({ code: 'bogus', detail: `${nameText(parent)}, which signed ${what}, is no zone` });
    // The table has the parent's state under the parent's name.
    if (state.at !== 'signed') return { at: 'state', state: this.keep(zone, state, 'this question') };
    const checked = yield* this.check(set, parent, state.keys);
    if (checked.at !== 'good') return refused(checked.flaw);
    if (checked.expanded) return refused({ code: 'bogus', detail: `${what} is made from a wildcard` });
    if (set.type === TYPE.DS && this.run.note !== undefined) {
      const about = set.rdata.flatMap(rdata => readDs(rdata) ?? []).map(dsText);
      this.run.note(zone, `DS for ${about.join(', ')}: ${signedText(checked.signature, parent)}`);
    }
    return { at: 'good', ttlSec: checked.ttlSec };
  }

  /** Records at a zone cut have no signatures, which is allowed if the parent is unsigned. */
  private *unsignedOr(zone: Name, flaw: Flaw): Steps<ZoneState> {
    const above = yield* this.unsignedAt(parentOf(zone));
    return above.at === 'signed' || above.at === 'no_cut' ? this.keepBogus(zone, flaw) : above;
  }

  /** There is a DS RRset: checks it, and the keys that it refers to. */
  private *delegated(zone: Name, set: RRset): Steps<ZoneState> {
    const link = yield* this.checkByParent(zone, set);
    if (link.at === 'state') return link.state;
    const all = set.rdata.flatMap(rdata => readDs(rdata) ?? []);
    const delegation = delegationOf(zone, all, this.run.settings.sha1);
    if (delegation.at === 'unsigned')
      return this.keep(zone, { at: 'unsigned', why: delegation.why }, { forSec: link.ttlSec });
    const { state, lasts } = yield* this.enter(zone, delegation.trusted);
    return this.keep(zone, state, typeof lasts === 'object' ? { forSec: Math.min(link.ttlSec, lasts.forSec) } : lasts);
  }

  /** The state of an anchor's zone, whose keys are trusted by configuration. */
  *anchored(anchor: Anchor): Steps<ZoneState> {
    const usable = usableAnchor(anchor.zone, anchor, this.run.settings.sha1);
    if (usable.at === 'unsigned') return { at: 'unsigned', why: usable.why };
    const { state, lasts } = yield* this.enter(anchor.zone, usable.trusted);
    return this.keep(anchor.zone, state, lasts);
  }

  /** Fetches a zone's DNSKEY RRset, and checks it with the trusted keys. */
  private *enter(zone: Name, trusted: TrustedKeys): Steps<ZoneFinding> {
    const answer = yield* this.lookup({ name: zone, type: TYPE.DNSKEY });
    if (answer.at === 'failure') return { state: { at: 'unknown', failure: answer.failure }, lasts: 'this question' };
    const set = answer.rcode === RCODE.NOERROR ? dataAt(answer.sets.answer, zone, TYPE.DNSKEY) : undefined;
    const text = nameText(zone);
    if (set === undefined)
      return bogus({ code: 'dnskey_missing', detail: `${text} has a DS, but no DNSKEY (${answer.upstream})` });
    const entry = keyEntry(zone, set, trusted);
    if (entry.at === 'limit') {
      this.run.budget.exceed(entry.limit);
      return bogus(entry.flaw);
    }
    if (entry.at === 'no_entry') {
      this.tellAnchorKeys(zone, entry.keys, set, false);
      return bogus(entry.flaw);
    }
    const checked = yield* this.check(set, zone, entry.entries);
    this.tellAnchorKeys(zone, entry.keys, set, checked.at === 'good' && !checked.expanded);
    if (checked.at !== 'good') return bogus(checked.flaw);
    if (checked.expanded) return bogus({ code: 'bogus', detail: `${text}: its keys are made from a wildcard` });
    this.run.note?.(zone, `DNSKEY: ${signedText(checked.signature, zone)}`);
    return { state: { at: 'signed', keys: entry.keys }, lasts: { forSec: checked.ttlSec } };
  }

  private tellAnchorKeys(zone: Name, keys: readonly Dnskey[], set: RRset, validated: boolean): void {
    if (!this.run.timeless && anchorFor(this.run.anchors, zone)?.zone === zone)
      this.parts.onAnchorKeys?.(zone, keys, set, validated, this.run.wallNow);
  }

  /** There is no DS RRset: the parent must prove that. */
  private *undelegated(zone: Name, authority: readonly RRset[]): Steps<ZoneState> {
    let flaw: Flaw = { code: 'nsec_missing', detail: `that ${nameText(zone)} has no DS is not proven` };
    const parents = this.denialSigners(authority, zone).filter(signer => signer !== zone);
    for (const parent of parents) {
      const state = yield* this.keysOf(parent);
      if (state.at === 'no_cut') continue;
      // The table has the parent's state under the parent's name.
      if (state.at !== 'signed') return this.keep(zone, state, 'this question');
      const denied = yield* checkDenial(this, parent, state.keys, authority);
      if (denied.at === 'too_many_iterations')
        return this.keep(zone, { at: 'unsigned', why: denied.why }, { forSec: BOGUS_SEC });
      if (denied.at === 'flawed') {
        flaw = denied.flaw;
        continue;
      }
      const cut = denied.denial.cut(zone);
      if (cut !== 'unproven')
        return this.keep(zone, cut === 'delegation' ? UNSIGNED : NO_CUT, { forSec: denied.ttlSec });
    }
    return parents.length > 0 ? this.keepBogus(zone, flaw) : yield* this.unsignedOr(zone, flaw);
  }

  /**
   * The meaning of unsigned records at a name: `unsigned` if a delegation to an unsigned zone is proven at the name or
   * above; `signed` or `no_cut`: they should have been signed.
   */
  *unsignedAt(name: Name): Steps<ZoneState> {
    const negative = this.negative(name);
    if (negative !== undefined) return negative;
    const top = anchorFor(this.run.anchors, name)?.zone ?? ROOT_NAME;
    const above = this.knownAbove(name, top);
    if (above !== undefined && above.state.at !== 'signed') return above.state;
    let state: ZoneState = above?.state ?? (yield* this.keysOf(top));
    const goesOn = (): boolean => state.at === 'signed' || state.at === 'no_cut';
    const most = labelCount(name);
    for (let labels = labelCount(above?.name ?? top); goesOn() && labels < most;) {
      const until = Math.min(labels + CUTS_AT_ONCE, most);
      const lookups = this.unknownCuts(name, labels + 1, until);
      if (lookups.length > 0) yield { at: 'lookups', lookups };
      while (labels < until && goesOn()) state = yield* this.keysOf(ancestorOf(name, ++labels));
    }
    return state;
  }

  /** The DS lookups that are missing for the ancestors of a name with `from` to `until` labels. */
  private unknownCuts(name: Name, from: number, until: number): Lookup[] {
    const lookups: Lookup[] = [];
    for (let labels = from; labels <= until; labels++) {
      const cut = { name: ancestorOf(name, labels), type: TYPE.DS };
      if (this.known(cut.name) === undefined && !this.run.results.has(lookupKey(cut)) && this.run.budget.takeLookup())
        lookups.push(cut);
    }
    return lookups;
  }
}

const bogusLasts = ({ code }: Flaw): Lasting => (code === 'dnssec_limit' ? 'this question' : 'failure');
const bogus = (flaw: Flaw): ZoneFinding => ({ state: { at: 'bogus', flaw }, lasts: bogusLasts(flaw) });

/** The RRset of a name and type, if it has records. */
const dataAt = (sets: readonly RRset[], name: Name, wanted: number): RRset | undefined =>
  sets.find(({ owner, type, rdata }) => owner === name && type === wanted && rdata.length > 0);
