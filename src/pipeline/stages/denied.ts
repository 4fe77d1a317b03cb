// Answers from validated denials (RFC 8020, RFC 8198): names that a zone has proven not to have, and those that its wildcards
// answer for. A flood of random names below a signed zone reaches no server.

import type { Observer } from '../../base/observer.js';
import { RCODE } from '../../base/outcome.js';
import type { Clock } from '../../base/ports.js';
import { type AgeSec, wallSecOf } from '../../base/time.js';
import type { TtlLimits } from '../../cache/entry.js';
import type { Denials, ZoneDenials } from '../../dnssec/denials.js';
import type { Question } from '../../dnssec/question.js';
import { lookupKey, type Steps } from '../../dnssec/steps.js';
import { synthesis, type Synthesis } from '../../dnssec/synthesis.js';
import { compose } from '../../wire/compose.js';
import { nameInKey } from '../../wire/query.js';
import { TYPE } from '../../wire/rrtype.js';
import { Answer } from '../answer.js';
import type { Query } from '../query.js';
import type { Settle, Stage } from '../stage.js';
import type { Validations } from '../validation/validations.js';
import { routeFor, type RouteTarget } from './routed.js';

/** The parts that the stage uses. */
export interface DeniedParts {
  readonly denials: Denials;
  readonly validations: Validations;
  /** Whether answers are made of denials at all. */
  readonly aggressive: () => boolean;
  readonly routes: () => readonly RouteTarget[];
  readonly ttlLimits: () => TtlLimits;
  readonly clock: Clock;
  readonly observer: Observer;
  readonly ageNow: () => AgeSec;
}

/** RFC 6895 §3.1: types of questions that no RRset has. */
const FIRST_QTYPE = 128;
const LAST_QTYPE = 255;

/** Whether a type has data that a zone can deny. Signatures are not validated themselves. */
const isDeniable = (type: number): boolean =>
  type !== TYPE.RRSIG && type !== TYPE.SIG && type !== TYPE.OPT && !(type >= FIRST_QTYPE && type <= LAST_QTYPE);

/** Makes the stage. */
export function denied(parts: DeniedParts): Stage {
  const { validations, observer } = parts;
  return next => {
    const make = (attempt: Attempt, query: Query, settle: Settle): void => {
      const pause: Pause = ({ slices }, then) => validations.scheduler.wait(slices, then);
      run(attempt, validations, pause, made => {
        const { exceeded } = attempt.question;
        if (exceeded !== undefined) observer.dnssecLimit(exceeded);
        const answer = made && answerOf(parts, query, made, attempt);
        if (answer === undefined) return next(query, settle);
        observer.cache('hit_aggressive');
        settle(answer);
      });
    };
    return (query, settle) => {
      const attempt = attemptFor(parts, query);
      if (attempt === undefined) next(query, settle);
      else make(attempt, query, settle);
    };
  };
}

/** The answer that the stage would give now, without a pause; undefined: none. Nothing is counted. */
export function deniedNow(parts: DeniedParts, query: Query): Answer | undefined {
  const attempt = attemptFor(parts, query);
  if (attempt === undefined) return undefined;
  const found: Answer[] = [];
  run(
    attempt,
    parts.validations,
    (_, then) => then(),
    made => {
      const answer = made && answerOf(parts, query, made, attempt);
      if (answer !== undefined) found.push(answer);
    },
  );
  return found[0];
}

/** An answer that is being put together. */
interface Attempt {
  readonly question: Question;
  readonly steps: Steps<Synthesis | undefined>;
  readonly ageNow: AgeSec;
}

/** Makes a pause, in which others are served. */
type Pause = (question: Question, then: () => void) => void;

/** Begins an attempt; undefined: the servers' answer decides. */
function attemptFor(parts: DeniedParts, query: Query): Attempt | undefined {
  const { denials, validations, clock } = parts;
  const zone = zoneFor(parts, query);
  if (zone === undefined) return undefined;
  const ageNow = parts.ageNow();
  const now = { wallNow: wallSecOf(clock.wallMs()), ageNow };
  const question = validations.parts.validator.question(nameInKey(query.key), query.type, now);
  // With a wrong clock, and to show which keys are trusted (RFC 8509), the servers' answer decides.
  if (question.timeless || question.sentinelFails) return undefined;
  return { question, steps: synthesis(denials, zone, question, ageNow), ageNow };
}

/** The zone whose denials may answer a query. */
function zoneFor({ denials, validations, aggressive, routes }: DeniedParts, query: Query): ZoneDenials | undefined {
  if (denials.entries === 0 || query.checkingDisabled || query.purpose === 'refresh') return undefined;
  if (!isDeniable(query.type) || !aggressive()) return undefined;
  const { mode } = validations;
  if (mode !== 'require' && mode !== 'prefer') return undefined;
  const name = nameInKey(query.key);
  const zone = denials.zoneOf(name, query.type);
  // Nearly all names are below a zone that has denied others: the root.
  if (zone?.maySayAbout(name) !== true) return undefined;
  return routeFor(routes(), query) === undefined ? zone : undefined;
}

/** Runs the steps. Nothing is looked up for an answer that is only tried, but what the last start knew is used. */
function run(attempt: Attempt, validations: Validations, pause: Pause, then: (made?: Synthesis) => void): void {
  const { steps, question } = attempt;
  const { remembered, ageNow } = validations.parts;
  let step = steps.next();
  for (; step.done !== true && step.value.at === 'lookups'; step = steps.next()) {
    const [lookup] = step.value.lookups;
    const known = remembered?.get(lookup, ageNow());
    if (known === undefined) return then();
    question.bring(lookupKey(lookup), known);
  }
  if (step.done === true) return then(step.value);
  pause(question, () => {
    question.rested();
    run(attempt, validations, pause, then);
  });
}

function answerOf(
  { ttlLimits, validations }: DeniedParts,
  query: Query,
  made: Synthesis,
  { question, ageNow }: Attempt,
): Answer | undefined {
  // After a pause, other anchors or settings may be in force.
  if (question.epoch !== validations.parts.validator.zones.epoch) return undefined;
  const { rcode, answer, authority, verdictSec } = made;
  const negative = rcode !== RCODE.NOERROR || answer.length === 0;
  const { maxSec, negativeMaxSec } = ttlLimits();
  const ttlSec = Math.min(made.ttlSec, maxSec, negative ? negativeMaxSec : Infinity);
  if (ttlSec < 1) return undefined;
  const within = (records: typeof answer): typeof answer => records.map(each => ({ ...each, ttlSec }));
  const message = compose(
    query.question,
    { answer: within(answer), authority: within(authority) },
    { rcode, compress: true },
  );
  return Answer.denied({ message, ttlSec, negative, verdictSec, ageNow });
}
