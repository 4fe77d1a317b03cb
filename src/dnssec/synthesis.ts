// Answers from validated denials of other names (RFC 8020, RFC 8198): the stored records that deny a name are put together as
// its zone would do it, and the answer is validated like one that a server has sent. So nothing is answered that a server could
// not have proven.

import { RCODE } from '../base/outcome.js';
import type { AgeSec } from '../base/time.js';
import type { RecordData } from '../wire/compose.js';
import { TYPE } from '../wire/rrtype.js';
import type { Denial } from './denial.js';
import type { Denials, StoredSet, ZoneDenials } from './denials.js';
import { ancestorOf, commonLabels, labelCount, type Name, octetsOf, wildcardOf } from './name.js';
import { nsecDenial } from './nsec.js';
import { hashed, nsec3Denial } from './nsec3.js';
import type { Question } from './question.js';
import type { RRset } from './rrset.js';
import type { Steps } from './steps.js';

/** An answer that was put together, and is secure. */
export interface Synthesis {
  readonly rcode: number;
  readonly answer: readonly RecordData[];
  readonly authority: readonly RecordData[];
  /** The least of all parts. */
  readonly ttlSec: number;
  /** Seconds until the first signature expires. */
  readonly verdictSec: number;
}

/** Denial records that may say something about a name. */
interface Candidates {
  readonly sets: readonly RRset[];
  readonly denial: Denial;
}

class Synthesiser {
  private readonly name: Name;

  constructor(
    private readonly denials: Denials,
    private readonly zone: ZoneDenials,
    private readonly question: Question,
    private readonly ageNow: AgeSec,
  ) {
    this.name = question.name;
  }

  *answer(): Steps<Synthesis | undefined> {
    const { zone, name, question } = this;
    if (zone.data.size > 0) {
      const expanded = yield* this.expanded();
      if (expanded !== undefined) return expanded;
    }
    // Without a SOA, nobody may keep a denial (RFC 2308 §5).
    const soa = this.fresh(zone.soa);
    if (soa === undefined) return undefined;
    for (const find of [this.plain, this.hashed]) {
      const found = this.candidates(yield* find.call(this, name));
      if (found === undefined) continue;
      const { sets, denial } = found;
      const authority = [soa.at(this.ageNow, 'authority'), ...sets];
      if ((yield* denial.noName(name)) === 'proven') return yield* this.validated(RCODE.NXDOMAIN, [], authority);
      if ((yield* denial.noData(name, question.type)) === 'proven')
        return yield* this.validated(RCODE.NOERROR, [], authority);
    }
    return undefined;
  }

  /** The data of the nearest wildcard above, where nothing closer exists (RFC 8198 §5.3). */
  private *expanded(): Steps<Synthesis | undefined> {
    const { zone, name, question, ageNow } = this;
    for (let labels = labelCount(name) - 1; labels >= labelCount(zone.name); labels--) {
      const data = this.fresh(zone.wildcard(wildcardOf(ancestorOf(name, labels)), question.type));
      if (data === undefined) continue;
      for (const gap of [this.plainAt(name), yield* this.hashedAt(ancestorOf(name, labels + 1))]) {
        const found = this.candidates(gap === undefined ? [] : [gap]);
        if (found === undefined || (yield* found.denial.noCloser(name, labels)) !== 'proven') continue;
        return yield* this.validated(RCODE.NOERROR, [data.at(ageNow, 'answer', name)], found.sets);
      }
    }
    return undefined;
  }

  private fresh(set: StoredSet | undefined): StoredSet | undefined {
    return this.denials.fresh(set, this.ageNow);
  }

  private plainAt(name: Name): StoredSet | undefined {
    return this.fresh(this.zone.plainAt(name));
  }

  private *hashedAt(name: Name): Steps<StoredSet | undefined> {
    const { parameters, hashed: gaps } = this.zone;
    if (parameters === undefined || gaps.entries === 0) return undefined;
    const hash = yield* hashed(name, parameters, this.question.budget);
    return hash === undefined ? undefined : this.fresh(gaps.find(hash));
  }

  /** The NSEC record of a name; or that of the gap that it is in, and that for the wildcard. */

  private *plain(name: Name): Steps<readonly StoredSet[]> {
    const own = this.plainAt(name);
    if (own === undefined) return [];
    const { key, next = key } = own.place;
    if (key === name) return [own];
    const wildcard = this.plainAt(
      wildcardOf(ancestorOf(name, Math.max(commonLabels(name, key), commonLabels(name, next)))),
    );
    return wildcard === undefined ? [own] : [own, wildcard];
  }

  /** The NSEC3 record of a name; or those for its closest encloser, the next closer name and the wildcard (RFC 5155 §7.2). */
  private *hashed(name: Name): Steps<readonly StoredSet[]> {
    let nextCloser = yield* this.hashedAt(name);
    if (nextCloser !== undefined && (yield* this.isAt(nextCloser, name))) return [nextCloser];
    for (let labels = labelCount(name) - 1; labels >= labelCount(this.zone.name); labels--) {
      const encloser = ancestorOf(name, labels);
      const own: StoredSet | undefined = yield* this.hashedAt(encloser);
      if (own !== undefined && (yield* this.isAt(own, encloser))) {
        const wildcard = nextCloser && (yield* this.hashedAt(wildcardOf(encloser)));
        return nextCloser === undefined || wildcard === undefined ? [] : [own, nextCloser, wildcard];
      }
      nextCloser = own;
    }
    return [];
  }

  private *isAt({ place: { key } }: StoredSet, name: Name): Steps<boolean> {
    const { parameters } = this.zone;
    return parameters !== undefined && key === (yield* hashed(name, parameters, this.question.budget));
  }

  private candidates(found: readonly StoredSet[]): Candidates | undefined {
    const [first] = found;
    if (first === undefined) return undefined;
    const { zone, question, ageNow } = this;
    const sets = [...new Set(found)].map(each => each.at(ageNow, 'authority'));
    const denial =
      first.type === TYPE.NSEC ? nsecDenial(sets, zone.name) : nsec3Denial(sets, zone.name, question.budget);
    return { sets, denial };
  }

  /** The answer, if it is secure with all its records. */
  private *validated(
    rcode: number,
    answer: readonly RRset[],
    authority: readonly RRset[],
  ): Steps<Synthesis | undefined> {
    let records = 0;
    for (const { rdata, signatures, records: numbers } of [...answer, ...authority])
      for (let count = rdata.length + signatures.length; count > 0; count--) numbers.push(records++);
    const finding = yield* this.question.validateSets({ answer, authority }, rcode, records);
    if (finding.at !== 'secure' || finding.untimely || finding.rcode !== rcode || finding.kept.includes(false))
      return undefined;
    const ttlSec = Math.min(finding.ttlSec, ...[...answer, ...authority].map(each => each.ttlSec));
    const written = (sets: readonly RRset[]): RecordData[] => sets.flatMap(each => recordsOf(each, ttlSec));
    return {
      ...{ rcode, ttlSec, verdictSec: finding.verdictSec },
      answer: written(answer),
      authority: written(authority),
    };
  }
}

/** The records of an RRset, signatures last. */
export function recordsOf({ owner, type, rdata, signatures }: RRset, ttlSec: number): RecordData[] {
  const octets = octetsOf(owner);
  return [
    ...rdata.map(each => ({ owner: octets, type, ttlSec, rdata: each })),
    ...signatures.map(({ head, octets: signature }) => ({
      ...{ owner: octets, type: TYPE.RRSIG, ttlSec },
      rdata: Buffer.concat([head, signature]),
    })),
  ];
}

/**
 * Answers a question from what is known of a zone; undefined: that does not answer it. The steps may ask for lookups: then
 * the chain of trust is not known any more, and the servers should be asked.
 */
export const synthesis = (
  denials: Denials,
  zone: ZoneDenials,
  question: Question,
  ageNow: AgeSec,
): Steps<Synthesis | undefined> => new Synthesiser(denials, zone, question, ageNow).answer();
