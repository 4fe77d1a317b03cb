// The chain of trust (RFC 4035 §5): from an anchor down through every zone cut, or the proof that it ends.
//
//   keysOf(zone)      what a name is, as a zone: asks for its DS, which its parent signed, and for its DNSKEY
//   unsignedAt(name)  whether something without signatures may stand there: only below a proven unsigned delegation
//
// The DS records of a zone name the parent by who signed them. So the way up is known from the answers, and no label has to
// be tried one by one but where there are no signatures at all.

import { failure } from '../base/outcome.js';
import type { ExtendedError } from '../wire/edns.js';
import { TYPE } from '../wire/rrtype.js';
import { type Anchor, anchorFor } from './anchors.js';
import type { Budget } from './budget.js';
import { anyOf, type Denial } from './denial.js';
import { algorithmText, Dnskey, type Ds, dsMatches, knowsAlgorithm, knowsDigest, readDs, type Sha1 } from './dnskey.js';
import { ancestorOf, isWithin, labelCount, type Name, nameText, parentOf, ROOT_NAME } from './name.js';
import { nsecDenial } from './nsec.js';
import { iterationsOf, nsec3Denial } from './nsec3.js';
import type { RRset, Signature } from './rrset.js';
import type { Checked, Flaw, Verifier } from './signature.js';
import { type Found, type Lookup, lookupKey, type Steps } from './steps.js';
import { nearestKnown, type Zones, type ZoneState } from './zones.js';

export type OnAnchorKeys = (
  zone: Name,
  keys: readonly Dnskey[],
  set: RRset,
  validated: boolean,
  wallSec: number,
) => void;

/** What the chain works with; the same for all questions. */
export interface ChainParts {
  readonly zones: Zones;
  readonly verifier: Verifier;
  readonly anchors: () => readonly Anchor[];
  /** Whether a name is to be taken as unsigned (RFC 7646). */
  readonly isNegativeAnchor: (name: Name) => Name | undefined;
  readonly sha1: Sha1;
  readonly maxNsec3Iterations: number;
  /** The DNSKEY RRset of an anchor's zone was looked at; whether a believed key has signed it (RFC 5011). */
  readonly onAnchorKeys?: OnAnchorKeys;
}

/** What is one question's own. */
export interface ChainRun {
  readonly budget: Budget;
  /** Seconds since 1970, for signatures. */
  readonly wallSec: number;
  /** The age clock, for what is kept. */
  readonly ageSec: number;
  /** Signatures count whatever their dates: the clock is known to be wrong, and this name may set it. Nothing is kept. */
  readonly timeless: boolean;
  /** What is bogus is kept: another upstream has said the same, or there is none. */
  readonly final: boolean;
  /** What lookups have brought. */
  readonly found: ReadonlyMap<string, Found>;
  /** Tells each step to someone who wants to see. */
  readonly note: ((zone: Name, words: string) => void) | undefined;
}

/** More keys than that make a DNSKEY RRset too costly. */
const MOST_KEYS = 16;
const MOST_FAILED_DS = 4;
const MOST_SAME_TAG = 4;
/** RFC 4035 §4.7: how long a zone stays bogus before it is looked at anew. */
export const BOGUS_SEC = 60;
/** How many possible cuts are asked about at once where nothing says where they are. */
const CUTS_AT_ONCE = 8;

const NOERROR = 0;
const ITERATIONS_EDE = 27;
const ALGORITHM_EDE = 1;
const DIGEST_EDE = 2;

const flawed = (code: Flaw['code'], detail: string): ZoneState => ({ at: 'bogus', flaw: { code, detail } });
const NO_CUT: ZoneState = { at: 'no_cut' };

/** Denial records of a zone, validated; or what is wrong with them. */
export type Denied =
  | { readonly at: 'denial'; readonly denial: Denial; readonly ttlSec: number; readonly sets: readonly RRset[] }
  /** It takes more hashing than a validator has to do (RFC 9276 §3.2). */
  | { readonly at: 'too_many_iterations'; readonly why: ExtendedError }
  | { readonly at: 'flawed'; readonly flaw: Flaw };

/** The chain for one question. */
export class Chain {
  /** What this question has found out already. */
  private memo: Map<Name, ZoneState> | undefined = undefined;
  /** A signature counted though its dates are wrong. */
  untimely = false;

  constructor(
    private readonly parts: ChainParts,
    readonly run: ChainRun,
  ) {}

  /** An answer of upstream's; `alsoType` is asked for with it, since it will be needed next. */
  private *lookup(lookup: Lookup, alsoType?: number): Steps<Found> {
    const key = lookupKey(lookup);
    const { found, budget } = this.run;
    if (!found.has(key)) {
      if (!budget.takeLookup())
        return {
          at: 'failure',
          failure: failure('dnssec_limit', `more than that many questions for ${nameText(lookup.name)}`),
        };
      const also = alsoType === undefined ? undefined : { name: lookup.name, type: alsoType };
      yield {
        at: 'lookups',
        lookups: also !== undefined && !found.has(lookupKey(also)) && budget.takeLookup() ? [lookup, also] : [lookup],
      };
    }
    return (
      this.run.found.get(key) ?? { at: 'failure', failure: failure('dnssec_indeterminate', nameText(lookup.name)) }
    );
  }

  /** Checks an RRset. */
  *check(set: RRset, zone: Name, keys: readonly Dnskey[]): Steps<Checked> {
    const { budget, wallSec } = this.run;
    const checked = yield* this.parts.verifier.check(set, zone, keys, wallSec, budget);
    if (checked.at !== 'untimely') return checked;
    if (!this.run.timeless) return { at: 'flawed', flaw: checked.flaw };
    this.untimely = true;
    return { at: 'good', signature: checked.signature, ttlSec: 0, expanded: checked.expanded };
  }

  /** The state of a name that is taken as unsigned by configuration. */
  negative(name: Name): ZoneState | undefined {
    const anchor = anchorFor(this.parts.anchors(), name);
    if (anchor === undefined) return { at: 'unsigned', why: undefined };
    const negative = this.parts.isNegativeAnchor(name);
    // A trust anchor below counts more (RFC 7646 §2).
    return negative !== undefined && isWithin(negative, anchor.zone) ? { at: 'unsigned', why: undefined } : undefined;
  }

  /** The zone whose signatures an RRset carries, if it may speak for a name. */
  signerOf({ signatures: [first] }: RRset, name: Name): Name | undefined {
    return first !== undefined && this.maySpeak(first.signer, name) ? first.signer : undefined;
  }

  /** The zones whose denial records are there, as far as they may speak for a name; the nearest first. */
  denialSigners(authority: readonly RRset[], name: Name): readonly Name[] {
    const signers = authority.flatMap(({ type, signatures }) =>
      type === TYPE.NSEC || type === TYPE.NSEC3 ? signatures.map(({ signer }) => signer) : [],
    );
    return [...new Set(signers)].filter(signer => this.maySpeak(signer, name)).sort((a, b) => b.length - a.length);
  }

  /** Zones above the anchor are nobody here: being unknown, they would pass for unsigned. */
  private maySpeak(signer: Name, name: Name): boolean {
    return isWithin(name, signer) && isWithin(signer, anchorFor(this.parts.anchors(), name)?.zone ?? ROOT_NAME);
  }

  private known(name: Name): ZoneState | undefined {
    return this.memo?.get(name) ?? (this.run.timeless ? undefined : this.parts.zones.get(name, this.run.ageSec));
  }

  private keep(name: Name, state: ZoneState, ttlSec: number): ZoneState {
    (this.memo ??= new Map()).set(name, state);
    this.run.note?.(name, stateText(name, state, ttlSec));
    if (!this.run.timeless && (state.at !== 'bogus' || (this.run.final && state.flaw.code !== 'dnssec_limit'))) {
      this.parts.zones.put(name, state, this.run.ageSec, state.at === 'bogus' ? BOGUS_SEC : ttlSec);
    }
    return state;
  }

  /** What a zone above is, this one is, too: known above, it need not be kept here. */
  private pass(name: Name, state: ZoneState): ZoneState {
    (this.memo ??= new Map()).set(name, state);
    this.run.note?.(name, stateText(name, state, 0));
    return state;
  }

  /** What `zone` is, as a zone. */
  *keysOf(zone: Name): Steps<ZoneState> {
    const negative = this.negative(zone);
    if (negative !== undefined) return negative;
    const known = this.known(zone);
    if (known !== undefined) return known;
    const anchor = anchorFor(this.parts.anchors(), zone);
    if (anchor?.zone === zone) return yield* this.anchored(anchor);
    const above =
      this.run.timeless || anchor === undefined
        ? undefined
        : nearestKnown(this.parts.zones, parentOf(zone), anchor.zone, this.run.ageSec);
    if (above?.state.at === 'unsigned' || above?.state.at === 'bogus') return above.state;
    // Who has signed something has keys, too.
    const answer = yield* this.lookup({ name: zone, type: TYPE.DS }, TYPE.DNSKEY);
    if (answer.at === 'failure') return this.pass(zone, { at: 'unknown', failure: answer.failure });
    const ds =
      answer.rcode !== NOERROR
        ? undefined
        : answer.sets.answer.find(({ owner, type, rdata }) => owner === zone && type === TYPE.DS && rdata.length > 0);
    if (ds !== undefined) return yield* this.delegated(zone, ds);
    const alias = answer.sets.answer.find(({ owner, type }) => owner === zone && type === TYPE.CNAME);
    // What is an alias is no zone cut (RFC 1034 §3.6.2).
    if (alias !== undefined)
      return yield* this.byParent(zone, alias, function* (ttlSec): Steps<readonly [ZoneState, number]> {
        return [NO_CUT, ttlSec];
      });
    return yield* this.undelegated(zone, answer.sets.authority);
  }

  /** Has an RRset at `zone` checked with the keys of the zone above that has signed it. */
  private *byParent(
    zone: Name,
    set: RRset,
    then: (ttlSec: number) => Steps<readonly [ZoneState, number]>,
  ): Steps<ZoneState> {
    const parent = this.signerOf(set, zone);
    const what = `${nameText(zone)} ${set.type === TYPE.DS ? 'DS' : 'CNAME'}`;
    if (parent === undefined || parent === zone)
      return yield* this.unsignedOr(zone, {
        code: 'rrsigs_missing',
        detail: `${what} has no signature of a zone above it`,
      });
    const state = yield* this.keysOf(parent);
    if (state.at === 'no_cut')
      return this.keep(zone, flawed('bogus', `${nameText(parent)}, which signed ${what}, is no zone`), 0);
    if (state.at !== 'signed') return this.pass(zone, state);
    const checked = yield* this.check(set, parent, state.keys);
    if (checked.at !== 'good') return this.keep(zone, { at: 'bogus', flaw: checked.flaw }, 0);
    if (checked.expanded) return this.keep(zone, flawed('bogus', `${what} is made from a wildcard`), 0);
    if (set.type === TYPE.DS)
      this.run.note?.(
        zone,
        `DS for ${set.rdata
          .flatMap(rdata => readDs(rdata) ?? [])
          .map(dsText)
          .join(', ')}: ${signedText(checked.signature, parent)}`,
      );
    const [found, ttlSec] = yield* then(checked.ttlSec);
    return this.keep(zone, found, ttlSec);
  }

  /** Of something at a zone cut without signatures: fine if the zone above has none either. */
  private *unsignedOr(zone: Name, flaw: Flaw): Steps<ZoneState> {
    const above = yield* this.unsignedAt(parentOf(zone));
    return above.at === 'signed' || above.at === 'no_cut' ? this.keep(zone, { at: 'bogus', flaw }, 0) : above;
  }

  /** There is a DS RRset: checks it, and the keys that it speaks of. */
  private *delegated(zone: Name, set: RRset): Steps<ZoneState> {
    const { sha1 } = this.parts;
    const fetchKeys = this.keysFor.bind(this);
    return yield* this.byParent(zone, set, function* (ttlSec) {
      const all = set.rdata.flatMap(rdata => readDs(rdata) ?? []);
      const usable = all.filter(ds => knowsAlgorithm(ds.algorithm, sha1) && knowsDigest(ds.digestType, sha1));
      if (usable.length === 0) {
        const digest = all.find(ds => knowsAlgorithm(ds.algorithm, sha1));
        const why =
          digest === undefined
            ? {
                infoCode: ALGORITHM_EDE,
                text: `${nameText(zone)} is signed with ${[...new Set(all.map(ds => algorithmText(ds.algorithm)))].join(', ')} only`,
              }
            : { infoCode: DIGEST_EDE, text: `the DS of ${nameText(zone)} has digest type ${digest.digestType} only` };
        return [{ at: 'unsigned', why }, ttlSec];
      }
      // RFC 4509 §3: beside a better digest, SHA-1 counts for nothing.
      const strong = usable.filter(ds => ds.digestType !== 1);
      return yield* fetchKeys(zone, strong.length > 0 ? strong : usable, [], ttlSec);
    });
  }

  /** Keys that are believed by configuration. */
  *anchored(anchor: Anchor): Steps<ZoneState> {
    const { sha1 } = this.parts;
    const usable = anchor.ds.filter(ds => knowsAlgorithm(ds.algorithm, sha1) && knowsDigest(ds.digestType, sha1));
    const keys = anchor.keys.filter(key => knowsAlgorithm(key.algorithm, sha1));
    if (usable.length + keys.length === 0)
      return {
        at: 'unsigned',
        why: { infoCode: ALGORITHM_EDE, text: `no trust anchor of ${nameText(anchor.zone)} can be used` },
      };
    const [state, ttlSec] = yield* this.keysFor(anchor.zone, usable, keys, Infinity);
    return this.keep(anchor.zone, state, ttlSec);
  }

  /** Fetches a zone's DNSKEY RRset, which one of these must speak of. */
  private *keysFor(
    zone: Name,
    ds: readonly Ds[],
    trusted: readonly Dnskey[],
    dsTtlSec: number,
  ): Steps<readonly [ZoneState, number]> {
    const answer = yield* this.lookup({ name: zone, type: TYPE.DNSKEY });
    if (answer.at === 'failure') return [{ at: 'unknown', failure: answer.failure }, 0];
    const set =
      answer.rcode !== NOERROR
        ? undefined
        : answer.sets.answer.find(
            ({ owner, type, rdata }) => owner === zone && type === TYPE.DNSKEY && rdata.length > 0,
          );
    const text = nameText(zone);
    if (set === undefined) return [flawed('dnskey_missing', `${text} has a DS, but no DNSKEY (${answer.upstream})`), 0];
    const { budget } = this.run;
    const keys = set.rdata.flatMap(rdata => Dnskey.read(rdata) ?? []);
    if (keys.length > MOST_KEYS) {
      budget.exceed('dnskeys');
      return [flawed('dnssec_limit', `${text} has ${keys.length} keys, more than ${MOST_KEYS}`), 0];
    }
    const tags = new Map<number, number>();
    for (const { tag } of keys) tags.set(tag, (tags.get(tag) ?? 0) + 1);
    const crowded = [...tags].find(([, count]) => count > MOST_SAME_TAG);
    if (crowded !== undefined) {
      budget.exceed('key_tags');
      return [flawed('dnssec_limit', `${crowded[1]} keys of ${text} have the same tag ${crowded[0]}`), 0];
    }

    let flaw: Flaw | undefined;
    let failed = 0;
    const entries = new Set<Dnskey>();
    for (const each of ds) {
      for (const key of keys) {
        if (key.tag !== each.tag || key.algorithm !== each.algorithm) continue;
        if (!key.isZoneKey)
          flaw ??= { code: 'no_zone_key', detail: `${text}: the DS speaks of key ${key.tag}, which is not a zone key` };
        else if (key.isRevoked)
          flaw ??= { code: 'dnskey_missing', detail: `${text}: the DS speaks of key ${key.tag}, which is revoked` };
        else if (dsMatches(each, zone, key)) entries.add(key);
        else if (++failed >= MOST_FAILED_DS) {
          budget.exceed('ds');
          return [flawed('dnssec_limit', `${text}: ${failed} DS records speak of keys that do not match them`), 0];
        } else flaw ??= { code: 'dnskey_missing', detail: `${text}: the DS for key ${each.tag} is of another key` };
      }
    }
    for (const key of keys) if (!key.isRevoked && trusted.some(each => each.rdata.equals(key.rdata))) entries.add(key);
    const tell = (validated: boolean): void => {
      if (!this.run.timeless && anchorFor(this.parts.anchors(), zone)?.zone === zone)
        this.parts.onAnchorKeys?.(zone, keys, set, validated, this.run.wallSec);
    };
    if (entries.size === 0) {
      tell(false);
      const wanted = [...new Set([...ds.map(({ tag }) => tag), ...trusted.map(({ tag }) => tag)])].join(', ');
      return [
        {
          at: 'bogus',
          flaw: flaw ?? {
            code: 'dnskey_missing',
            detail: `${text} has no key ${wanted}, which ${trusted.length > 0 || zone === ROOT_NAME ? 'the trust anchor' : 'its DS'} speaks of`,
          },
        },
        0,
      ];
    }
    // One chain that holds is enough (RFC 6840 §5.11).
    const checked = yield* this.check(set, zone, [...entries]);
    tell(checked.at === 'good' && !checked.expanded);
    if (checked.at !== 'good') return [{ at: 'bogus', flaw: checked.flaw }, 0];
    if (checked.expanded) return [flawed('bogus', `${text}: its keys are made from a wildcard`), 0];
    this.run.note?.(zone, `DNSKEY: ${signedText(checked.signature, zone)}`);
    return [{ at: 'signed', keys }, Math.min(dsTtlSec, checked.ttlSec)];
  }

  /** There is no DS RRset: what stands there is for the zone above to prove. */
  private *undelegated(zone: Name, authority: readonly RRset[]): Steps<ZoneState> {
    const text = nameText(zone);
    let flaw: Flaw = { code: 'nsec_missing', detail: `that ${text} has no DS is not proven` };
    const parents = this.denialSigners(authority, zone).filter(signer => signer !== zone);
    for (const parent of parents) {
      const state = yield* this.keysOf(parent);
      if (state.at === 'signed') {
        const denied = yield* this.denialOf(parent, state.keys, authority);
        if (denied.at === 'too_many_iterations') return this.keep(zone, { at: 'unsigned', why: denied.why }, BOGUS_SEC);
        if (denied.at === 'flawed') flaw = denied.flaw;
        else {
          const cut = denied.denial.cut(zone);
          if (cut === 'delegation') return this.keep(zone, { at: 'unsigned', why: undefined }, denied.ttlSec);
          if (cut === 'none') return this.keep(zone, NO_CUT, denied.ttlSec);
        }
      } else if (state.at !== 'no_cut') return this.pass(zone, state);
    }
    if (parents.length > 0) return this.keep(zone, { at: 'bogus', flaw }, 0);
    return yield* this.unsignedOr(zone, flaw);
  }

  /** The denial records that a zone has put into an authority section. */
  *denialOf(zone: Name, keys: readonly Dnskey[], authority: readonly RRset[]): Steps<Denied> {
    const sets = authority.filter(
      ({ type, signatures }) =>
        (type === TYPE.NSEC || type === TYPE.NSEC3) && signatures.some(({ signer }) => signer === zone),
    );
    const hashed = sets.filter(({ type }) => type === TYPE.NSEC3);
    const iterations = iterationsOf(hashed);
    let ttlSec = Infinity;
    const good: RRset[] = [];
    for (const set of sets) {
      const checked = yield* this.check(set, zone, keys);
      if (checked.at !== 'good') return { at: 'flawed', flaw: checked.flaw };
      // A wildcard's own NSEC speaks of the wildcard, never of what is made from it.
      if (checked.expanded)
        return {
          at: 'flawed',
          flaw: { code: 'bogus', detail: `${nameText(set.owner)}: a denial made from a wildcard` },
        };
      ttlSec = Math.min(ttlSec, checked.ttlSec);
      good.push(set);
    }
    if (iterations > this.parts.maxNsec3Iterations) {
      return {
        at: 'too_many_iterations',
        why: {
          infoCode: ITERATIONS_EDE,
          text: `${nameText(zone)} asks for ${iterations} NSEC3 iterations, more than ${this.parts.maxNsec3Iterations}`,
        },
      };
    }
    const plain = good.filter(({ type }) => type === TYPE.NSEC);
    const denials = [
      ...(plain.length > 0 ? [nsecDenial(plain, zone)] : []),
      ...(plain.length < good.length
        ? [
            nsec3Denial(
              good.filter(({ type }) => type === TYPE.NSEC3),
              zone,
              this.run.budget,
            ),
          ]
        : []),
    ];
    return { at: 'denial', ttlSec, sets: good, denial: anyOf(denials) };
  }

  /**
   * What to think of something without signatures at a name: `unsigned` where a delegation to an unsigned zone is proven at it
   * or above; `signed` or `no_cut`: it should have had some.
   */
  *unsignedAt(name: Name): Steps<ZoneState> {
    const negative = this.negative(name);
    if (negative !== undefined) return negative;
    const anchor = anchorFor(this.parts.anchors(), name);
    const top = anchor?.zone ?? ROOT_NAME;
    const above = this.run.timeless ? undefined : nearestKnown(this.parts.zones, name, top, this.run.ageSec);
    if (above !== undefined && above.state.at !== 'signed') return above.state;
    let state: ZoneState = above?.state ?? (yield* this.keysOf(top));
    const most = labelCount(name);
    for (
      let labels = labelCount(above?.name ?? top);
      (state.at === 'signed' || state.at === 'no_cut') && labels < most;
    ) {
      const until = Math.min(labels + CUTS_AT_ONCE, most);
      const lookups: Lookup[] = [];
      for (let each = labels + 1; each <= until; each++) {
        const cut = { name: ancestorOf(name, each), type: TYPE.DS };
        if (this.known(cut.name) === undefined && !this.run.found.has(lookupKey(cut)) && this.run.budget.takeLookup())
          lookups.push(cut);
      }
      if (lookups.length > 0) yield { at: 'lookups', lookups };
      while (labels < until && (state.at === 'signed' || state.at === 'no_cut'))
        state = yield* this.keysOf(ancestorOf(name, ++labels));
    }
    return state;
  }
}

/** Who has signed something, and until when that holds. */
export const signedText = ({ keyTag, algorithm, expiration }: Signature, signer: Name): string =>
  `signed by key ${keyTag} (${algorithmText(algorithm)}) of ${nameText(signer)} until ${new Date(expiration * 1000).toISOString().replace('.000Z', 'Z')}`;

const dsText = ({ tag, algorithm, digestType }: Ds): string =>
  `key ${tag} (${algorithmText(algorithm)}, digest type ${digestType})`;

function stateText(name: Name, state: ZoneState, ttlSec: number): string {
  const forSec = Number.isFinite(ttlSec) && ttlSec > 0 ? `, good for ${ttlSec} s` : '';
  switch (state.at) {
    case 'signed':
      return `signed; keys ${state.keys.map(key => `${key.tag} (${algorithmText(key.algorithm)}${key.isSep ? ', SEP' : ''}${key.isRevoked ? ', revoked' : ''})`).join(', ')}${forSec}`;
    case 'unsigned':
      return `${state.why?.text ?? 'unsigned: that there is no DS is proven'}${forSec}`;
    case 'no_cut':
      return `no zone cut at ${nameText(name)}${forSec}`;
    case 'bogus':
      return `bogus: ${state.flaw.detail}`;
    case 'unknown':
      return `not known: ${state.failure.detail ?? state.failure.code}`;
  }
}
