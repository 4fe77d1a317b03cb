// Validates the answer to one question. Queries for the chain of trust are sent together with the question. A bogus
// answer is asked for again once, from another server.

import { failure, type Failure, failureRow, isAnswerRcode } from '../../base/outcome.js';
import { type MonoMs, wallSecOf } from '../../base/time.js';
import type { Guess } from '../../dnssec/speculative.js';
import { type Name, nameText } from '../../dnssec/name.js';
import { type Lookup, lookupKey, type LookupResult, type Steps } from '../../dnssec/steps.js';
import type { Finding } from '../../dnssec/validate.js';
import type { Question } from '../../dnssec/question.js';
import type { ZoneState } from '../../dnssec/zones.js';
import { HEADER_BYTES } from '../../wire/header.js';
import { nameInKey } from '../../wire/query.js';
import { Answer, type Outcome } from '../answer.js';
import type { Query } from '../query.js';
import type { Resolve, Settle } from '../stage.js';
import { hasSignatures, soundPart } from './sound-part.js';
import type { Validations } from './validations.js';

/** The failures that a server which strips signatures causes: a zone without signatures looks the same. */
const MISSING: ReadonlySet<string> = new Set(['rrsigs_missing', 'dnskey_missing', 'nsec_missing']);

/** In place of a server: the answer comes from the last start. */
const SNAPSHOT = 0;

const nothing = (): void => undefined;
/** Whether it is shown what a name is. */
const isShown = (state: ZoneState | undefined): boolean => state !== undefined && state.at !== 'bogus';
const NO_RESULTS: ReadonlyMap<string, LookupResult> = new Map();

/** One question, from its first packet to its verdict. */
export class Validation {
  private readonly name: Name;
  private readonly guess: Guess;
  private readonly startedAt: MonoMs;
  private avoid: readonly number[];
  /** What is found about servers counts only until they are forgotten. */
  private readonly epoch: number;
  /** Whether it was asked again, of another server. */
  private retried = false;
  private settled = false;
  // The following three are made when they are needed: most questions wait only for their answer.
  private validating: Question | undefined = undefined;
  /** The callbacks that wait for each lookup. */
  private waiting: Map<string, (() => void)[]> | undefined = undefined;
  /** The keys of the responses of the last start that were used: they may be wrong, although the servers are right. */
  private used: string[] | undefined = undefined;

  constructor(
    private readonly shared: Validations,
    private readonly query: Query,
    private readonly next: Resolve,
    private readonly settle: Settle,
  ) {
    const { validator, clock, ageNow } = shared.parts;
    this.name = nameInKey(query.key);
    this.guess = validator.guess(this.name, query.type, ageNow());
    this.startedAt = clock.monotonicMs();
    this.avoid = shared.toAvoid;
    this.epoch = shared.strippers.epoch;
  }

  /** Sends the question. */
  begin(): void {
    const { restored } = this.shared.parts;
    const entry = this.retried || this.query.purpose !== 'client' ? undefined : restored?.(this.query.key);
    if (entry !== undefined) return this.answered(Answer.cached(entry));
    if (!this.shared.acceptsAll) for (const lookup of this.guess.lookups) this.fetch(lookup, nothing);
    const asked = this.query.derive({ dnssecOk: true, checkingDisabled: true, avoid: this.avoid });
    this.next(asked, outcome => this.answered(outcome));
  }

  private get question(): Question {
    const { clock, validator, ageNow } = this.shared.parts;
    return (this.validating ??= validator.question(this.name, this.query.type, {
      wallNow: wallSecOf(clock.wallMs()),
      ageNow: ageNow(),
    }));
  }

  private get questionEnd(): number {
    return HEADER_BYTES + this.query.question.length;
  }

  /** For a probe. */
  private get about(): { readonly name: Name; readonly routesEpoch: number | undefined } {
    return { name: this.name, routesEpoch: this.query.routesEpoch };
  }

  /** Whether names are asked of other servers since it began: what it lacks, it does not get. */
  private get isOutdated(): boolean {
    const { routesEpoch } = this.query;
    const now = this.shared.parts.upstream.routesEpoch;
    return now !== undefined && routesEpoch !== undefined && now !== routesEpoch;
  }

  private fetch(lookup: Lookup, then: () => void): void {
    const { avoid } = this;
    const key = lookupKey(lookup);
    const known = this.retried ? undefined : this.shared.parts.remembered?.get(lookup, this.shared.parts.ageNow());
    if (known !== undefined) {
      (this.used ??= []).push(key);
      this.question.final = false;
      this.question.bring(key, known);
      return then();
    }
    const waiting = (this.waiting ??= new Map<string, (() => void)[]>());
    const others = waiting.get(key);
    if (others !== undefined) {
      others.push(then);
      return;
    }
    const all = [then];
    waiting.set(key, all);
    this.shared.lookups.ask(lookup, { avoid, routesEpoch: this.query.routesEpoch }, found => {
      // The second attempt does not use the lookups of the first.
      if (this.avoid !== avoid || waiting.get(key) !== all) return;
      waiting.delete(key);
      this.question.bring(key, found);
      for (const each of all) each();
    });
  }

  private answered(outcome: Outcome): void {
    if (outcome.at === 'failure' || !isAnswerRcode(outcome.entry.rcode)) return this.done(outcome);
    const { entry, serverId } = outcome;
    const isAlone = !this.shared.hasOther(this.avoid, serverId);
    const final = this.retried || (isAlone && serverId !== SNAPSHOT && this.used === undefined);
    if (final && this.shared.accepts(serverId) && !hasSignatures(entry, this.questionEnd)) {
      if (this.shared.strippers.isDue(serverId)) this.shared.probe(serverId, this.about, NO_RESULTS, nothing);
      return this.unsigned(outcome);
    }
    const conclude = (answer: Answer, finding: Finding): void => {
      // Responses of the last start may have been used since it began. Everything is asked again once at most.
      const failed = finding.at === 'bogus' || finding.at === 'indeterminate';
      if (failed && this.isOutdated) return this.done(failure('handed_back'));
      const mayRetry = !this.retried && (!final || this.used !== undefined);
      if (mayRetry && failed) this.retry(finding.at, serverId);
      else this.concluded(answer, finding);
    };
    // The entry is borrowed until this returns, and validation may take longer. Nothing is computed twice, so the copy is
    // made before it begins.
    const copy = outcome.withEntry({ ...entry, octets: Buffer.from(entry.octets) });
    const { unfollowed } = outcome;
    const terms = { final, unfollowed, note: this.shared.parts.note };
    const steps = this.question.validate(copy.entry, this.questionEnd, terms);
    if (steps === undefined) conclude(copy, { at: 'bogus', failure: failure('parse', entry.upstream) });
    else this.run(steps, finding => conclude(copy, finding));
  }

  /** Runs the steps, and fetches the lookups that they need. */
  private run(steps: Steps<Finding>, conclude: (finding: Finding) => void): void {
    this.shared.scheduler.begin();
    for (;;) {
      const step = steps.next();
      if (step.done === true) return conclude(step.value);
      const need = step.value;
      if (need.at === 'pause') {
        return this.shared.scheduler.wait(this.question.slices, () => {
          this.question.rested();
          this.run(steps, conclude);
        });
      }
      const [awaited, ...others] = need.lookups;
      const wait = { isOver: false, isLong: false };
      this.fetch(awaited, () => {
        wait.isOver = true;
        if (wait.isLong) this.run(steps, conclude);
      });
      for (const each of others) this.fetch(each, nothing);
      if (!wait.isOver) {
        wait.isLong = true;
        return;
      }
    }
  }

  /** Asks everything again, of other servers: one of them may have the true answer. */
  private retry(finding: 'bogus' | 'indeterminate', serverId: number): void {
    this.retried = true;
    // If it is indeterminate, mostly a server has not answered, which says nothing about what is known from the last start.
    if (finding === 'bogus') {
      const { remembered, disproved } = this.shared.parts;
      if (this.used !== undefined) remembered?.delete(this.used);
      if (serverId === SNAPSHOT) disproved?.(this.query.key);
    }
    this.avoid = [...this.avoid, serverId];
    this.question.forget();
    this.waiting = undefined;
    this.shared.parts.observer.dnssecRetry();
    this.begin();
  }

  private concluded(answer: Answer, finding: Finding): void {
    const { validator, observer, ageNow } = this.shared.parts;
    const { exceeded } = this.question;
    if (exceeded !== undefined) observer.dnssecLimit(exceeded);
    // Whatever was found about this name, its chain of trust may have shown zones above it that nobody looks up again.
    if (this.waiting !== undefined) this.remember();
    // If nothing was looked up, there is nothing to learn.
    if (this.waiting !== undefined && (finding.at === 'secure' || finding.at === 'insecure'))
      validator.learn(this.guess, ageNow());
    switch (finding.at) {
      case 'secure':
        return this.secure(answer, finding);
      case 'insecure':
        return this.insecure(answer, finding);
      case 'bogus':
      case 'indeterminate':
        return this.failed(answer, finding.at, finding.failure);
      case 'limit':
        return this.verdict('indeterminate', finding.failure);
    }
  }

  private secure(answer: Answer, finding: Extract<Finding, { at: 'secure' }>): void {
    if (this.question.sentinelFails) return this.done(failure('sentinel'));
    const { entry, serverId } = answer;
    const { strippers } = this.shared;
    const isFresh = serverId !== SNAPSHOT;
    if (isFresh && strippers.epoch === this.epoch && strippers.stateOf(serverId) !== 'ok')
      strippers.note({ id: serverId, label: entry.upstream }, false);
    const sound = soundPart(entry, finding, this.questionEnd);
    if (sound === undefined) return this.verdict('bogus', failure('parse', entry.upstream));
    if (isFresh && !finding.untimely) this.shared.verdicts.secure();
    this.learn(finding);
    this.verdict(finding.untimely ? 'indeterminate' : 'secure', answer.withEntry(sound));
  }

  /** Remembers what the answer proves about other names. What was asked under other settings says nothing any more. */
  private learn({ untimely, proven }: Extract<Finding, { at: 'secure' }>): void {
    const { validator, denials, ageNow } = this.shared.parts;
    if (!untimely && proven.length > 0 && this.question.epoch === validator.zones.epoch)
      denials?.learn(proven, ageNow());
  }

  /** Keeps the responses that have proven something for the next start. */
  private remember(): void {
    const { remembered, validator } = this.shared.parts;
    const ageNow = this.shared.parts.ageNow();
    remembered?.put(this.question.results, name => isShown(validator.zones.get(name, ageNow)), ageNow);
  }

  private insecure(answer: Answer, { why }: Extract<Finding, { at: 'insecure' }>): void {
    const { entry } = answer;
    const extendedErrors = why === undefined ? entry.extendedErrors : [...entry.extendedErrors, why];
    this.verdict('insecure', answer.withEntry({ ...entry, verdict: 'insecure', extendedErrors }));
  }

  private failed(answer: Answer, at: 'bogus' | 'indeterminate', why: Failure): void {
    const { shared, question } = this;
    const { serverId } = answer;
    const isMissing = at === 'indeterminate' || MISSING.has(why.code);
    const judge = (): void => {
      // The probe takes time, and the routes may have changed meanwhile.
      if (this.isOutdated) this.done(failure('handed_back'));
      else this.judged(answer, at, why, isMissing && shared.strippers.stateOf(serverId) === 'strips');
    };
    if (isMissing && shared.strippers.isDue(serverId)) shared.probe(serverId, this.about, question.results, judge);
    else judge();
  }

  /** @param isStripped whether the server leaves signatures out of all its answers */
  private judged(answer: Answer, at: 'bogus' | 'indeterminate', why: Failure, isStripped: boolean): void {
    const { upstream } = answer.entry;
    // The operator accepts servers without DNSSEC, but never signatures that are wrong.
    if (isStripped && this.shared.mode === 'prefer') return this.unsigned(answer);
    if (at === 'bogus') this.shared.verdicts.bogus(this.name, why.code, upstream);
    const failed =
      isStripped && at === 'bogus'
        ? failure('rrsigs_missing', `${upstream} leaves them out of all answers`)
        : this.withClock(why);
    this.verdict(at, failed);
  }

  /** Accepts an answer of a server that leaves signatures out. */
  private unsigned(answer: Answer): void {
    this.verdict('indeterminate', answer.withEntry({ ...answer.entry, verdict: 'unchecked' }));
  }

  /** Adds the time of this machine's clock, if that may be the reason. */
  private withClock(why: Failure): Failure {
    const { clock, validator } = this.shared.parts;
    const wallMs = clock.wallMs();
    const isAboutTime = why.code === 'signature_early' || why.code === 'signature_expired';
    if (!isAboutTime || !validator.clockIsWrong(wallSecOf(wallMs))) return why;
    const shown = new Date(wallMs).toISOString().slice(0, 16);
    return failure(why.code, `this machine's clock says ${shown}Z, which cannot be; ${why.detail ?? ''}`);
  }

  private verdict(verdict: 'secure' | 'insecure' | 'bogus' | 'indeterminate', outcome: Outcome): void {
    const { observer, clock, log } = this.shared.parts;
    observer.validation(verdict, (clock.monotonicMs() - this.startedAt) / 1000);
    if (outcome.at === 'failure') {
      const name = nameText(this.name);
      log.debug(
        { name, reason: outcome.code, detail: outcome.detail },
        `${name} is ${verdict}: ${failureRow(outcome.code).words}: ${outcome.detail ?? ''}`,
      );
    }
    this.done(outcome);
  }

  private done(outcome: Outcome): void {
    if (this.settled) return;
    this.settled = true;
    this.settle(outcome);
  }
}
