// Follows aliases that the servers have not followed (RFC 1034 §5.3.3). Some forwarders answer with a CNAME alone. The
// target is asked for like any other name, and both answers become one.

import { failure, isAnswerRcode } from '../../base/outcome.js';
import type { AgeSec } from '../../base/time.js';
import { makeEntry, type TtlLimits } from '../../cache/entry.js';
import { type Name, nameOf, octetsOf } from '../../dnssec/name.js';
import { MOST_ALIASES } from '../../dnssec/validate.js';
import { HEADER_BYTES } from '../../wire/header.js';
import { compose } from '../../wire/compose.js';
import { type OwnRecords, rebuilt, recordsOf } from '../aliases/rebuilt.js';
import { shapeOf } from '../aliases/shape.js';
import { Answer, type Origin, type Outcome, relevant } from '../answer.js';
import type { Query } from '../query.js';
import type { Resolve, Settle, Stage } from '../stage.js';

/** The limits were applied to each part already. */
const AS_IT_IS: TtlLimits = { minSec: 0, maxSec: Infinity, negativeMaxSec: Infinity };

/**
 * Makes the stage.
 * @param origin the answers whose aliases it follows
 */
export const followed =
  (origin: Origin, ageNow: () => AgeSec): Stage =>
  next =>
  (query, settle) =>
    next(query, outcome => {
      if (outcome.at === 'failure' || outcome.unfollowed === undefined || outcome.origin !== origin) settle(outcome);
      else new Following(query, next, settle, ageNow).goOn(outcome, outcome.unfollowed);
    });

/** One question whose aliases are followed. */
class Following {
  private readonly asked: Set<Name>;

  constructor(
    private readonly query: Query,
    private readonly next: Resolve,
    private readonly settle: Settle,
    private readonly ageNow: () => AgeSec,
  ) {
    this.asked = new Set([nameOf(query.name)]);
  }

  /** @param answer the aliases so far, the last of which leads to `target` */
  goOn(answer: Answer, target: Name): void {
    const { query, asked } = this;
    if (asked.has(target) || asked.size > MOST_ALIASES)
      return this.settle(failure('alias_loop', answer.entry.upstream));
    asked.add(target);
    // The octets are borrowed until this returns.
    const before = recordsOf(answer.entry, HEADER_BYTES + query.question.length, undefined);
    if (before === undefined) return this.settle(failure('parse', answer.entry.upstream));
    const about = query.about(octetsOf(target));
    this.next(about, outcome => this.took(answer, before, about, outcome));
  }

  private took(first: Answer, before: OwnRecords, about: Query, outcome: Outcome): void {
    if (outcome.at === 'failure') return this.settle(outcome);
    const whole = isAnswerRcode(outcome.entry.rcode)
      ? this.joined(first, before, about, outcome)
      : this.withoutRecords(outcome);
    if (whole.at === 'failure' || outcome.unfollowed === undefined) this.settle(whole);
    else this.goOn(whole, outcome.unfollowed);
  }

  /** The error of the server that was asked last, as the answer to the question of the client. */
  private withoutRecords(outcome: Answer): Answer {
    const { octets, ...stored } = compose(this.query.question, {}, { rcode: outcome.entry.rcode });
    return outcome.withEntry({ ...outcome.entry, ...stored, octets });
  }

  private joined(first: Answer, before: OwnRecords, about: Query, second: Answer): Outcome {
    const { query } = this;
    const { entry } = second;
    const ageNow = this.ageNow();
    // Above the cache, the second part may have been in it for a while.
    const elapsedSec = second.elapsedSec(ageNow);
    const after = agedBy(elapsedSec, recordsOf(entry, HEADER_BYTES + about.question.length, undefined));
    const { extendedErrors } = entry;
    const whole =
      after &&
      rebuilt(
        query.question,
        { answer: [...before.answer, ...after.answer], authority: [...before.authority, ...after.authority] },
        { rcode: entry.rcode, extendedErrors: [...first.entry.extendedErrors, ...extendedErrors] },
        query.type,
      );
    const { verdict, upstream, protocol } = entry;
    // What each server said was without circles and duplicates, which does not hold for all of them together.
    const shape = whole && shapeOf({ octets: whole.message, ...whole.scan }, query.type);
    if (shape?.end.at === 'circle') return failure('alias_loop', upstream);
    const sound = shape && relevant(whole, shape, query.type);
    if (sound === undefined) return failure('parse', upstream);
    const made = makeEntry(sound.message, sound.scan, AS_IT_IS, {
      ...{ ageNow, upstream, protocol },
      // Both parts are as good as the worse one.
      verdict: verdict === first.entry.verdict ? verdict : 'unchecked',
    });
    // What others have completed is theirs.
    const origin = first.origin === 'local' ? second.origin : first.origin;
    const ttlSec = Math.min(made.ttlSec, entry.ttlSec - elapsedSec);
    return new Answer(origin, { ...made, ttlSec: Math.max(0, ttlSec) }, second.serverId);
  }
}

/** Records of an answer as they are some seconds after it was stored. */
function agedBy(elapsedSec: number, records: OwnRecords | undefined): OwnRecords | undefined {
  if (elapsedSec === 0 || records === undefined) return records;
  const aged = (all: OwnRecords['answer']): OwnRecords['answer'] =>
    all.map(each => ({ ...each, ttlSec: Math.max(0, each.ttlSec - elapsedSec) }));
  return { answer: aged(records.answer), authority: aged(records.authority) };
}
