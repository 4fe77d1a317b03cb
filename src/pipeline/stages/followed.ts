// Follows aliases that the servers have not followed (RFC 1034 §5.3.3). Some forwarders answer with a CNAME alone. The
// target is asked for like any other name, and both answers become one.

import { failure } from '../../base/outcome.js';
import type { TtlLimits } from '../../cache/entry.js';
import { makeEntry } from '../../cache/entry.js';
import { type Name, octetsOf } from '../../dnssec/name.js';
import { MOST_ALIASES } from '../../dnssec/validate.js';
import { HEADER_BYTES } from '../../wire/header.js';
import { type OwnRecords, rebuilt, recordsOf } from '../aliases/rebuilt.js';
import { Answer, type Origin, type Outcome } from '../answer.js';
import type { Query } from '../query.js';
import type { Resolve, Settle, Stage } from '../stage.js';

/** The limits were applied to each part already. */
const AS_IT_IS: TtlLimits = { minSec: 0, maxSec: Infinity, negativeMaxSec: Infinity };

/**
 * Makes the stage.
 * @param origin the answers whose aliases it follows
 */
export const followed =
  (origin: Origin): Stage =>
  next =>
  (query, settle) =>
    next(query, outcome => {
      if (outcome.at === 'failure' || outcome.unfollowed === undefined || outcome.origin !== origin) settle(outcome);
      else new Following(query, next, settle).goOn(outcome, outcome.unfollowed);
    });

/** One question whose aliases are followed. */
class Following {
  private readonly asked = new Set<Name>();

  constructor(
    private readonly query: Query,
    private readonly next: Resolve,
    private readonly settle: Settle,
  ) {}

  /** @param answer the aliases so far, the last of which leads to `target` */
  goOn(answer: Answer, target: Name): void {
    const { query, asked } = this;
    if (asked.has(target) || asked.size === MOST_ALIASES)
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
    const whole = this.joined(first, before, about, outcome);
    if (whole === undefined) return this.settle(failure('parse', outcome.entry.upstream));
    if (outcome.unfollowed === undefined) this.settle(whole);
    else this.goOn(whole, outcome.unfollowed);
  }

  private joined(first: Answer, before: OwnRecords, about: Query, second: Answer): Answer | undefined {
    const { query } = this;
    const { entry } = second;
    const after = recordsOf(entry, HEADER_BYTES + about.question.length, undefined);
    const { extendedErrors } = entry;
    const whole =
      after &&
      rebuilt(
        query.question,
        { answer: [...before.answer, ...after.answer], authority: [...before.authority, ...after.authority] },
        { rcode: entry.rcode, extendedErrors: [...first.entry.extendedErrors, ...extendedErrors] },
        query.type,
      );
    if (whole === undefined) return undefined;
    const { verdict, upstream, protocol, storedAt } = entry;
    const made = makeEntry(whole.message, whole.scan, AS_IT_IS, {
      ...{ ageNow: storedAt, upstream, protocol },
      // Both parts are as good as the worse one.
      verdict: verdict === first.entry.verdict ? verdict : 'unchecked',
    });
    return new Answer(first.origin, { ...made, ttlSec: Math.min(made.ttlSec, entry.ttlSec) }, second.serverId);
  }
}
