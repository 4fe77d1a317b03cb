// Says which stage would answer a question. It is sent through the stages that decide (pipeline/resolver); in place of those
// that find an answer there is an end that only looks. Nobody is asked, and nothing is counted or changed.

import { failure } from '../base/outcome.js';
import type { Upstream } from '../upstream/pool.js';
import type { Outcome } from './answer.js';
import type { Query } from './query.js';
import { type DecidingParts, decidingStages, type DecidingStage } from './resolver.js';
import type { Resolve, Stage } from './stage.js';
import type { Found } from './stages/listed.js';

/** Who settles a question: a stage, or one of those that find the answer. */
export interface DecisionStep {
  /** QNAME, QTYPE and QCLASS. */
  readonly question: Buffer;
  readonly by: DecidingStage | 'found';
}

/** What becomes of a question. */
export interface Decision {
  /** The question itself, and then those that it leads to, e.g. by an alias. */
  readonly steps: readonly DecisionStep[];
  /** The stages that change the answer on its way to the client. */
  readonly changedBy: readonly DecidingStage[];
  /** The rules of lists that are met. */
  readonly rules: readonly Found[];
}

/** A question at one stage. */
class Passage {
  /** Whether the stage has asked the ones below it, */
  hasPassed = false;
  /** and what they have said. */
  readonly given: Outcome[] = [];

  /** Whether the outcome of the stage is something else. */
  isChanged(outcome: Outcome): boolean {
    return !this.given.some(each => isSame(each, outcome));
  }
}

const isSame = (a: Outcome, b: Outcome): boolean =>
  a === b ||
  (a.at === 'answer' &&
    b.at === 'answer' &&
    a.entry.ttlSec === b.entry.ttlSec &&
    a.entry.octets.equals(b.entry.octets));

const NOBODY: Upstream = { servers: [], exchange: (...[, , reply]) => reply(failure('not_ready')) };

/**
 * Finds it out.
 * @param find settles the questions that no stage answers, at once, with what is in the cache or with a failure
 */
export function decide(parts: DecidingParts, query: Query, find: Resolve): Decision {
  const steps: DecisionStep[] = [];
  const changedBy: DecidingStage[] = [];
  const rules: Found[] = [];

  const noted =
    (name: DecidingStage, stage: Stage, next: Resolve): Resolve =>
    (asked, settle) => {
      const seen = new Passage();
      const below: Resolve = (about, take) => {
        seen.hasPassed = true;
        next(about, outcome => {
          seen.given.push(outcome);
          take(outcome);
        });
      };
      stage(below)(asked, outcome => {
        if (!seen.hasPassed) steps.push({ question: asked.question, by: name });
        else if (seen.isChanged(outcome)) changedBy.push(name);
        settle(outcome);
      });
    };
  const end: Resolve = (asked, settle) => {
    steps.push({ question: asked.question, by: 'found' });
    find(asked, settle);
  };
  const stages = decidingStages({
    ...parts,
    portal: { window: parts.portal.window, upstream: () => NOBODY },
    filler: { missing: () => [], fill: (_, then) => then() },
    observer: { listed: () => undefined, screened: () => undefined },
    met: found => rules.push(found),
  });
  stages.reduceRight((next, [name, stage]) => noted(name, stage, next), end)(query, () => undefined);
  return { steps, changedBy, rules };
}
