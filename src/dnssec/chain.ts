// The chain of trust (RFC 4035 §5): from a trust anchor down through every zone cut, or the proof that it ends.
//
//   keysOf(zone)      what a name is, as a zone: asks for its DS, which its parent signed, and for its DNSKEY
//   unsignedAt(name)  whether something without signatures may stand there: only below a proven unsigned delegation
//
// The signature of a DS RRset names the zone above. So the zones above a name are found from the answers, and labels
// are tried one by one only where there are no signatures.

import { EDE, failure, RCODE } from '../base/outcome.js';
import type { AgeSec, WallSec } from '../base/time.js';
import { TYPE } from '../wire/rrtype.js';
import { type Anchor, anchorFor, hasAnchorAbove, isAnchored } from './anchors.js';
import type { Budget } from './budget.js';
import { checkDenial } from './denial-check.js';
import { type Dnskey, readDs, type Sha1 } from './dnskey.js';
import { dsText, signedText, stateText } from './explain.js';
import { delegationOf, keyEntry, type TrustedKeys, usableAnchor } from './key-entry.js';
import { ancestorOf, isWithin, labelCount, type Name, nameText, parentOf, ROOT_NAME } from './name.js';
import type { NegativeAnchors } from './negative.js';
import type { RRset } from './rrset.js';
import { type Flaw, type SignatureCheck, untilExpiration, type Verifier } from './signature.js';
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
  /** Negative trust anchors (RFC 7646). */
  readonly negative: Pick<NegativeAnchors, 'covers'>;
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
/** How long a name is known to be no zone cut. A new delegation must be found soon, whatever the zone's negative TTL. */
const NO_CUT_SEC = 3600;
/** How many possible zone cuts are asked about at once, if nothing shows where the cuts are. */
const CUTS_AT_ONCE = 8;

const NOBODY: readonly Name[] = [];
const NO_CUT: ZoneState = { at: 'no_cut' };
const UNSIGNED: ZoneState = { at: 'unsigned', why: undefined };

/** The chain for one question. */
export class Chain {
  /** States that this question has found. */
  private memo: Map<Name, ZoneState> | undefined = undefined;
  /** Whether a signature was accepted although its dates are wrong. */
  untimely = false;
  /** Seconds until the first of the signatures that were accepted expires. */
  verdictSec = Infinity;
  /** The keys of lookups that were sent. It is made with the first: where the keys of a zone are known, there is none. */
  private sent: Set<string> | undefined = undefined;

  constructor(
    private readonly parts: ChainParts,
    readonly run: ChainRun,
  ) {}

  /** Looks something up. The others are asked for at the same time, because they will probably be needed next. */
  private *lookup(lookup: Lookup, others: readonly Lookup[] = []): Steps<LookupResult> {
    const key = lookupKey(lookup);
    if (!this.run.results.has(key)) {
      if (!this.mayAsk(lookup)) {
        const detail = `more than that many questions for ${nameText(lookup.name)}`;
        return { at: 'failure', failure: failure('dnssec_limit', detail) };
      }
      const ahead = others.filter(each => !this.run.results.has(lookupKey(each)) && this.mayAskAhead(each));
      yield { at: 'lookups', lookups: [lookup, ...ahead] };
    }
    return (
      this.run.results.get(key) ?? { at: 'failure', failure: failure('dnssec_indeterminate', nameText(lookup.name)) }
    );
  }

  /** Whether a lookup was sent already, or the budget allows it. */
  private mayAsk(lookup: Lookup): boolean {
    const key = lookupKey(lookup);
    if (this.sent?.has(key) === true) return true;
    if (!this.run.budget.takeLookup()) return false;
    (this.sent ??= new Set()).add(key);
    return true;
  }

  private mayAskAhead(lookup: Lookup): boolean {
    return this.run.budget.hasLookups && this.mayAsk(lookup);
  }

  /** Checks the signatures of an RRset. */
  *check(set: RRset, zone: Name, keys: readonly Dnskey[]): Steps<SignatureCheck> {
    const { budget, wallNow } = this.run;
    const checked = yield* this.parts.verifier.check(set, zone, keys, wallNow, budget);
    if (checked.at === 'good') this.verdictSec = Math.min(this.verdictSec, untilExpiration(checked.signature, wallNow));
    if (checked.at !== 'untimely') return checked;
    if (!this.run.timeless) return { at: 'flawed', flaw: checked.flaw };
    this.untimely = true;
    return { at: 'good', signature: checked.signature, ttlSec: 0, expanded: checked.expanded };
  }

  /** The state of a name that the configuration says is unsigned. */
  negative(name: Name): ZoneState | undefined {
    const anchor = anchorFor(this.run.anchors, name);
    if (anchor === undefined) return UNSIGNED;
    return this.parts.negative.covers(name, anchor.zone) ? UNSIGNED : undefined;
  }

  /**
   * The signers of an RRset that may sign records of its owner; the nearest first. A DS belongs to the parent of the zone
   * that it is about (RFC 4035 §5.2).
   */
  signersOf({ owner, type, signatures }: RRset): readonly Name[] {
    const [first] = signatures;
    if (first === undefined) return NOBODY;
    const signers = signatures.length === 1 ? [first.signer] : [...new Set(signatures.map(({ signer }) => signer))];
    return signers.filter(each => this.maySpeak(each, owner, type)).sort((a, b) => b.length - a.length);
  }

  /** The signers of denial records that may deny a type of this name; the nearest first. */
  denialSigners(authority: readonly RRset[], name: Name, denied: number): readonly Name[] {
    const signers = authority.flatMap(({ type, signatures }) =>
      type === TYPE.NSEC || type === TYPE.NSEC3 ? signatures.map(({ signer }) => signer) : [],
    );
    return [...new Set(signers)].filter(each => this.maySpeak(each, name, denied)).sort((a, b) => b.length - a.length);
  }

  /** Zones above all anchors are excluded: nothing is known about them, so they would count as unsigned. */
  private maySpeak(signer: Name, name: Name, type: number): boolean {
    return (
      isWithin(name, signer) &&
      (type !== TYPE.DS || signer !== name || name === ROOT_NAME) &&
      isAnchored(this.run.anchors, signer)
    );
  }

  /**
   * The state of a zone below another one that a name is in (RFC 4035 §5.3.1: an RRset is signed by the zone that
   * contains it); undefined: there is none.
   * @param labels names with more labels do not exist
   * @param may `look`: only what is known counts
   */
  *zoneBelow(zone: Name, name: Name, labels: number, may: 'ask' | 'look' = 'ask'): Steps<ZoneState | undefined> {
    for (let count = labels; may === 'ask' && count > labelCount(zone); count--) {
      const each = ancestorOf(name, count);
      // Whether a host is a zone is not asked: most hosts are none, and every new name would cost a question more. The
      // names between are few, and the same for many hosts.
      if (each === name && !this.run.results.has(lookupKey({ name: each, type: TYPE.DS }))) continue;
      const { at } = yield* this.keysOf(each, 'host');
      // The zone that proves this knows of no zone between itself and the name, and is known itself by now. A server that
      // does not answer must not hold up an answer that is signed.
      if (at === 'no_cut' || at === 'unknown') break;
    }
    for (let count = labelCount(zone) + 1; count <= labels; count++) {
      const state = this.known(ancestorOf(name, count));
      if (state !== undefined && isProvenZone(state)) return state;
    }
    return undefined;
  }

  private known(name: Name): ZoneState | undefined {
    return this.memo?.get(name) ?? (this.run.timeless ? undefined : this.parts.zones.get(name, this.run.ageNow));
  }

  /** The nearest known state above a name, or at it. */
  private knownAbove(name: Name, top: Name): ReturnType<typeof nearestKnown> {
    return this.run.timeless ? undefined : nearestKnown(this.parts.zones, name, top, this.run.ageNow);
  }

  private keep(name: Name, state: ZoneState, lasts: Lasting, saidBy: 'anchor' | 'parent' = 'parent'): ZoneState {
    const { run, parts } = this;
    (this.memo ??= new Map()).set(name, state);
    run.note?.(name, stateText(name, state, typeof lasts === 'object' ? lasts.forSec : undefined));
    if (lasts === 'this question' || run.timeless || run.epoch !== parts.zones.epoch) return state;
    // Of an anchor's zone, zones above can only prove that it is signed: for all else the anchor decides.
    if (saidBy === 'parent' && state.at !== 'signed' && anchorFor(run.anchors, name)?.zone === name) return state;
    if (lasts !== 'failure') parts.zones.put(name, state, run.ageNow, lasts.forSec);
    // With a limit exceeded, a failure says nothing about the zone.
    else if (run.final && run.budget.exceeded === undefined) parts.zones.put(name, state, run.ageNow, BOGUS_SEC);
    return state;
  }

  /**
   * Stores a bogus state. A state that only exceeds a limit of this question is not stored: it may be fine for the next
   * question.
   */
  private keepBogus(name: Name, flaw: Flaw): ZoneState {
    return this.keep(name, { at: 'bogus', flaw: settled(flaw), isZone: false }, bogusLasts(flaw));
  }

  /**
   * The state of a zone that signed something about `name`. That the zone is unsigned says nothing below another anchor,
   * which is trusted whatever is above it: there, its signatures count as those of nobody.
   */
  *signerOf(name: Name, signer: Name): Steps<ZoneState> {
    const state = yield* this.keysOf(signer);
    return state.at === 'unsigned' && this.isOverruled(signer, name) ? NO_CUT : state;
  }

  /** Whether there is an anchor below a zone, and above a name or at it. */
  isOverruled(zone: Name, name: Name): boolean {
    const anchor = anchorFor(this.run.anchors, name);
    return anchor !== undefined && anchor.zone.length > zone.length;
  }

  /** The state of `zone`. @param likely `host`: its keys are not asked for before a DS shows that it has some */
  *keysOf(zone: Name, likely: 'zone' | 'host' = 'zone'): Steps<ZoneState> {
    const negative = this.negative(zone);
    if (negative !== undefined) return negative;
    const known = this.known(zone);
    if (known !== undefined) return known;
    const anchor = anchorFor(this.run.anchors, zone);
    if (anchor?.zone !== zone) return yield* this.delegatedBy(zone, anchor, likely);
    // Of several chains, any good one is enough (RFC 6840 Appendix C.2): a forgotten anchor must not break a zone.
    const own = yield* this.fromAnchor(anchor);
    if (own.state.at !== 'signed' && hasAnchorAbove(this.run.anchors, zone)) {
      const state = yield* this.delegatedBy(zone, anchorFor(this.run.anchors, parentOf(zone)));
      if (state.at === 'signed') return state;
    }
    return this.keep(zone, own.state, own.lasts, 'anchor');
  }

  /** The state of a zone as the zones above it say. @param anchor the nearest one above */
  private *delegatedBy(zone: Name, anchor: Anchor | undefined, likely: 'zone' | 'host' = 'zone'): Steps<ZoneState> {
    const above = anchor === undefined ? undefined : this.knownAbove(parentOf(zone), anchor.zone);
    if (above?.state.at === 'unsigned' || above?.state.at === 'bogus') return above.state;
    const ended = anchor === undefined ? undefined : yield* this.endedAbove(zone, above?.name ?? anchor.zone);
    if (ended !== undefined) return ended;
    // A zone that has signed something has keys.
    const others = likely === 'zone' ? [{ name: zone, type: TYPE.DNSKEY }] : [];
    const answer = yield* this.lookup({ name: zone, type: TYPE.DS }, others);
    if (answer.at === 'failure') return this.keep(zone, { at: 'unknown', failure: answer.failure }, 'this question');
    const ds = answer.rcode === RCODE.NOERROR ? dataAt(answer.sets.answer, zone, TYPE.DS) : undefined;
    if (ds !== undefined) return yield* this.delegated(zone, ds);
    const alias = answer.sets.answer.find(({ owner, type }) => owner === zone && type === TYPE.CNAME);
    return alias === undefined
      ? yield* this.undelegated(zone, answer.sets.authority)
      : yield* this.aliased(zone, alias);
  }

  /**
   * The state of a zone above where the chain of trust ends, as far as answers that are here already show that: below it,
   * nobody need answer. @param top the nearest known zone
   */
  private *endedAbove(zone: Name, top: Name): Steps<ZoneState | undefined> {
    for (let labels = labelCount(top) + 1; labels < labelCount(zone); labels++) {
      const each = ancestorOf(zone, labels);
      if (!this.run.results.has(lookupKey({ name: each, type: TYPE.DS }))) continue;
      const state = yield* this.keysOf(each);
      if (state.at === 'unsigned' || (state.at === 'bogus' && state.isZone)) return state;
    }
    return undefined;
  }

  /** A name with an alias is not a zone cut (RFC 1034 §3.6.2), if the zone that contains it has signed that. */
  private *aliased(zone: Name, alias: RRset): Steps<ZoneState> {
    const link = yield* this.checkByParent(zone, alias);
    if (link.at !== 'good') return link.state;
    // Unlike a denial, an alias says nothing about the names above it.
    const below = yield* this.zoneBelow(link.parent, zone, labelCount(zone) - 1);
    if (below === undefined) return this.keep(zone, NO_CUT, { forSec: Math.min(link.ttlSec, NO_CUT_SEC) });
    if (below.at !== 'signed') return this.keep(zone, below, 'this question');
    const detail = `${nameText(zone)} CNAME is in a zone below ${nameText(link.parent)}, which signed it`;
    return this.keepBogus(zone, { code: 'bogus', detail });
  }

  /**
   * Checks an RRset at `zone` with the keys of the parent that signed it. If that fails, returns the state of `zone`
   * that follows.
   */
  private *checkByParent(
    zone: Name,
    set: RRset,
  ): Steps<
    | { readonly at: 'good'; readonly ttlSec: number; readonly parent: Name }
    | { readonly at: 'state'; readonly state: ZoneState }
  > {
    const what = `${nameText(zone)} ${set.type === TYPE.DS ? 'DS' : 'CNAME'}`;
    let flaw: Flaw | undefined;
    let unknown: ZoneState | undefined;
    for (const parent of this.signersOf(set)) {
      if (parent === zone) continue;
      const state = yield* this.signerOf(parentOf(zone), parent);
      if (state.at === 'no_cut') {
        flaw ??= { code: 'bogus', detail: `${nameText(parent)}, which signed ${what}, is no zone` };
        continue;
      }
      if (state.at === 'unknown') {
        unknown ??= state;
        continue;
      }
      // The table has the parent's state under the parent's name.
      if (state.at !== 'signed') return { at: 'state', state: this.keep(zone, state, 'this question') };
      const checked = yield* this.check(set, parent, state.keys);
      if (checked.at === 'good' && !checked.expanded) {
        this.run.budget.visited();
        if (set.type === TYPE.DS && this.run.note !== undefined) {
          const about = set.rdata.flatMap(rdata => readDs(rdata) ?? []).map(dsText);
          this.run.note(zone, `DS for ${about.join(', ')}: ${signedText(checked.signature, parent)}`);
        }
        return { at: 'good', ttlSec: checked.ttlSec, parent };
      }
      flaw ??= checked.at === 'good' ? { code: 'bogus', detail: `${what} is made from a wildcard` } : checked.flaw;
    }
    if (unknown !== undefined) return { at: 'state', state: this.keep(zone, unknown, 'this question') };
    flaw ??= { code: 'rrsigs_missing', detail: `${what} has no signature of a zone above it` };
    return { at: 'state', state: yield* this.unsignedOr(zone, flaw) };
  }

  /** Records at a zone cut are not proven, which is allowed if the parent is unsigned. */
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
    const { state, lasts } = yield* this.fromAnchor(anchor);
    return this.keep(anchor.zone, state, lasts, 'anchor');
  }

  private *fromAnchor(anchor: Anchor): Steps<ZoneFinding> {
    const usable = usableAnchor(anchor.zone, anchor, this.run.settings.sha1);
    return usable.at === 'unsigned'
      ? { state: { at: 'unsigned', why: usable.why }, lasts: 'this question' }
      : yield* this.enter(anchor.zone, usable.trusted);
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
    this.run.budget.visited();
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
    let unknown: ZoneState | undefined;
    for (const parent of this.denialSigners(authority, zone, TYPE.DS)) {
      const state = yield* this.signerOf(parentOf(zone), parent);
      if (state.at === 'no_cut') continue;
      if (state.at === 'unknown') {
        unknown ??= state;
        continue;
      }
      // The table has the parent's state under the parent's name.
      if (state.at !== 'signed') return this.keep(zone, state, 'this question');
      const denied = yield* checkDenial(this, parent, state.keys, authority);
      if (denied.at === 'too_many_iterations') {
        if (this.isOverruled(parent, parentOf(zone))) continue;
        return this.keep(zone, { at: 'unsigned', why: denied.why }, { forSec: BOGUS_SEC });
      }
      if (denied.at === 'flawed') {
        flaw = denied.flaw;
        continue;
      }
      const cut = yield* denied.denial.cut(zone);
      if (cut === 'limit') return this.keepBogus(zone, hashLimit(zone));
      if (cut === 'unproven') continue;
      for (let each = denied.sets.length; each > 0; each--) this.run.budget.visited();
      return cut === 'delegation'
        ? this.keep(zone, UNSIGNED, { forSec: denied.ttlSec })
        : this.keep(zone, NO_CUT, { forSec: Math.min(denied.ttlSec, negativeTtlOf(authority), NO_CUT_SEC) });
    }
    if (unknown !== undefined) return this.keep(zone, unknown, 'this question');
    // It may be below an unsigned delegation, whatever denials of zones above that stand here.
    return yield* this.unsignedOr(zone, flaw);
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
    for (let labels = labelCount(above?.name ?? top) + 1; goesOn() && labels <= most; labels++) {
      // The highest delegation to an unsigned zone decides. What is below it may never be answered, so each name waits
      // for its own answer only.
      const each = ancestorOf(name, labels);
      const [first, ...others] = this.unknownCuts(name, labels, Math.min(labels + CUTS_AT_ONCE - 1, most));
      if (first?.name === each) yield* this.lookup(first, others);
      state = yield* this.keysOf(each);
    }
    return state;
  }

  /** The DS lookups that are missing for the ancestors of a name with `from` to `until` labels. */
  private unknownCuts(name: Name, from: number, until: number): Lookup[] {
    const lookups: Lookup[] = [];
    for (let labels = from; labels <= until; labels++) {
      const cut = { name: ancestorOf(name, labels), type: TYPE.DS };
      if (this.known(cut.name) === undefined && !this.run.results.has(lookupKey(cut))) lookups.push(cut);
    }
    return lookups;
  }
}

/** How long a zone that denies something says that the denial holds (RFC 2308 §5, RFC 9077 §3). */
function negativeTtlOf(authority: readonly RRset[]): number {
  let ttlSec = Infinity;
  for (const { type, rdata, ttlSec: own } of authority) {
    if (type !== TYPE.SOA) continue;
    for (const each of rdata) if (each.length >= 4) ttlSec = Math.min(ttlSec, own, each.readUInt32BE(each.length - 4));
  }
  return ttlSec;
}

/** Whether a state proves that there is a zone. With too many iterations to look, nothing is proven. */
const isProvenZone = (state: ZoneState): boolean =>
  state.at === 'signed' ||
  (state.at === 'unsigned' && state.why?.infoCode !== EDE.NSEC3_ITERATIONS) ||
  (state.at === 'bogus' && state.isZone);

/** The flaw of a denial that was not read to its end. */
export const hashLimit = (name: Name): Flaw => ({
  code: 'dnssec_limit',
  detail: `too many NSEC3 hashes for ${nameText(name)}`,
});

/** A flaw without the RRset that its text is made of: it is kept longer than that. */
const settled = ({ code, detail }: Flaw): Flaw => ({ code, detail });
const bogusLasts = ({ code }: Flaw): Lasting => (code === 'dnssec_limit' ? 'this question' : 'failure');
const bogus = (flaw: Flaw): ZoneFinding => ({
  state: { at: 'bogus', flaw: settled(flaw), isZone: true },
  lasts: bogusLasts(flaw),
});

/** The RRset of a name and type, if it has records. */
const dataAt = (sets: readonly RRset[], name: Name, wanted: number): RRset | undefined =>
  sets.find(({ owner, type, rdata }) => owner === name && type === wanted && rdata.length > 0);
