// Follows aliases that the servers have not followed (RFC 1034 §5.3.3). Some forwarders answer with a CNAME alone. The
// target is asked for like any other name, and both answers become one.

import { failure, isAnswerRcode } from '../../base/outcome.js';
import type { AgeSec } from '../../base/time.js';
import { type Entry, makeEntry } from '../../cache/entry.js';
import { type Name, nameOf, octetsOf } from '../../dnssec/name.js';
import { MOST_ALIASES } from '../../dnssec/validate.js';
import { HEADER_BYTES } from '../../wire/header.js';
import { compose } from '../../wire/compose.js';
import { AS_IT_IS, chainOf, retimed } from '../aliases/chain.js';
import type { AliasLinks, Hop } from '../aliases/links.js';
import { type OwnRecords, recordsOf } from '../aliases/rebuilt.js';
import { Answer, type Origin, type Outcome } from '../answer.js';
import type { Query } from '../query.js';
import type { Resolve, Settle, Stage } from '../stage.js';

/** What decides about aliases. */
export interface FollowedParts {
  /** Where aliases are kept whose targets are not looked for in the cache; left out: the stage is above it. */
  readonly links?: Pick<AliasLinks, 'learnt' | 'epoch'>;
  /** Whether there can be such an answer to a query that comes now; left out: always. */
  readonly mayAnswer?: (query: Query) => boolean;
  /** What targets pass before the stages below; left out: nothing. */
  readonly first?: Stage;
  /** Whether a target is left to a stage above: the answer is its alias, not followed. Left out: none is. */
  readonly leaves?: (target: Query) => boolean;
}

/**
 * Makes the stage.
 * @param origins the answers whose aliases it follows
 */
export const followed =
  (origins: readonly Origin[], ageNow: () => AgeSec, parts: FollowedParts = {}): Stage =>
  next => {
    const { links, mayAnswer, first } = parts;
    const ask = first?.(next) ?? next;
    const following = (query: Query, settle: Settle): Settle => {
      const since = links?.epoch ?? 0;
      return outcome => {
        if (outcome.at === 'failure' || outcome.unfollowed === undefined || !origins.includes(outcome.origin))
          return settle(outcome);
        const last = { query, answer: outcome };
        new Following(query, ask, settle, ageNow, parts, since).goOn(outcome, outcome.unfollowed, last);
      };
    };
    return (query, settle) => next(query, mayAnswer?.(query) === false ? settle : following(query, settle));
  };

/** One question whose aliases are followed. */
class Following {
  private readonly asked: Set<Name>;
  /** The answers whose aliases are not kept yet. */
  private hops: Hop[] = [];
  /** Whether a name of this network is part of the answer. Its change counts at once, so the answer is kept nowhere. */
  private hasOwnNames = false;

  constructor(
    private readonly query: Query,
    private readonly next: Resolve,
    private readonly settle: Settle,
    private readonly ageNow: () => AgeSec,
    private readonly parts: FollowedParts,
    /** The epoch of the cache when the question was asked. */
    private readonly since: number,
  ) {
    this.asked = new Set([nameOf(query.name)]);
  }

  /**
   * @param answer the aliases so far, the last of which leads to `target`
   * @param last what was asked for last, and answered with some of them
   */
  goOn(answer: Answer, target: Name, last: Pick<Hop, 'query' | 'answer'>): void {
    const { query, asked } = this;
    const { links, leaves } = this.parts;
    if (asked.has(target) || asked.size > MOST_ALIASES)
      return this.settle(failure('alias_loop', answer.entry.upstream));
    asked.add(target);
    // The octets are borrowed until this returns.
    const before = ownRecords({ query, answer });
    if (before === undefined) return this.settle(failure('parse', answer.entry.upstream));
    const about = query.about(octetsOf(target));
    if (leaves?.(about) === true) return this.settle(new Answer(answer.origin, answer.entry, answer.serverId, target));
    const records = last.answer === answer ? before : ownRecords(last);
    // What comes from the cache is kept already, and names of this network are not kept.
    const { origin } = last.answer;
    if (records !== undefined && origin !== 'cache' && origin !== 'local')
      this.hops.push({ ...last, records, target: about });
    if (links?.learnt(this.hops, this.since) === true) this.hops = [];
    this.next(about, outcome => this.took(answer, before, about, outcome));
  }

  private took(first: Answer, before: OwnRecords, about: Query, outcome: Outcome): void {
    if (outcome.at === 'failure') return this.settle(outcome);
    const whole = isAnswerRcode(outcome.entry.rcode)
      ? this.joined(first, before, about, outcome)
      : this.withoutRecords(outcome);
    if (whole.at === 'failure' || outcome.unfollowed === undefined) this.settle(whole);
    else this.goOn(whole, outcome.unfollowed, { query: about, answer: outcome });
  }

  /** The error of the server that was asked last, as the answer to the question of the client. */
  private withoutRecords(outcome: Answer): Answer {
    const { octets, ...stored } = compose(this.query.question, {}, { rcode: outcome.entry.rcode });
    return outcome.withEntry({ ...outcome.entry, ...stored, octets });
  }

  private joined(first: Answer, before: OwnRecords, about: Query, second: Answer): Outcome {
    const { entry } = second;
    const { verdict, upstream, protocol, rcode } = entry;
    const ageNow = this.ageNow();
    const after = ownRecords({ query: about, answer: second });
    // Both may be as old as the answer of the other has taken, and those from a cache above which this stands older.
    const elapsedSec = second.elapsedSec(ageNow);
    const parts = after && [agedBy(first.elapsedSec(ageNow), before), agedBy(elapsedSec, after)];
    const extendedErrors = [...first.entry.extendedErrors, ...entry.extendedErrors];
    const sound = parts && chainOf(this.query, parts, { rcode, extendedErrors });
    if (sound === 'circle') return failure('alias_loop', upstream);
    if (sound === undefined) return failure('parse', upstream);
    const made = makeEntry(sound.message, sound.scan, AS_IT_IS, {
      ...{ ageNow, upstream, protocol },
      // Both parts are as good as the worse one.
      verdict: verdict === first.entry.verdict ? verdict : 'unchecked',
    });
    // What others have completed is theirs. Local names say nothing about where an alias was found.
    const isTheirs = first.origin === 'local' || (first.origin === 'cache' && second.origin !== 'local');
    const origin = isTheirs ? second.origin : first.origin;
    // Above the cache, answers are made anew for each query.
    this.hasOwnNames ||= this.parts.links !== undefined && second.origin === 'local';
    const ttlSec = this.hasOwnNames ? 0 : Math.max(0, Math.min(made.ttlSec, entry.ttlSec - elapsedSec));
    const verdictSec = Math.min(verdictLeft(first.entry, ageNow), verdictLeft(entry, ageNow));
    return new Answer(origin, { ...made, ttlSec, verdictSec }, second.serverId);
  }
}

/** For how many seconds more a verdict holds. */
const verdictLeft = ({ verdictSec, storedAt }: Entry, ageNow: AgeSec): number =>
  Math.max(0, verdictSec - (ageNow - storedAt));

/** The records of an answer. */
const ownRecords = ({ query, answer }: Pick<Hop, 'query' | 'answer'>): OwnRecords | undefined =>
  recordsOf(answer.entry, HEADER_BYTES + query.question.length, undefined);

/** Records of an answer as they are some seconds after it was stored. */
const agedBy = (elapsedSec: number, records: OwnRecords): OwnRecords =>
  elapsedSec === 0 ? records : retimed(records, ttlSec => Math.max(0, ttlSec - elapsedSec));
