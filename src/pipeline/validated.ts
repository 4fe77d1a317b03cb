// The stage that validates (RFC 4035 §5): asks for what the chain of trust will need together with the question, judges the
// answer when it is there, and gives a bogus one a second chance at another server.

import { failure, type Failure, failureRow } from '../base/outcome.js';
import type { Observer } from '../base/observer.js';
import type { Clock, Log } from '../base/ports.js';
import { ageSec, wallSecOf } from '../base/time.js';
import type { Entry } from '../cache/entry.js';
import { type Name, nameOf, nameText } from '../dnssec/name.js';
import { type Lookup, lookupKey, type LookupResult, type Steps } from '../dnssec/steps.js';
import type { Finding } from '../dnssec/validate.js';
import type { Guess } from '../dnssec/speculative.js';
import type { Question } from '../dnssec/question.js';
import type { Validator } from '../dnssec/validator.js';
import type { Pool } from '../upstream/pool.js';
import { HEADER_BYTES } from '../wire/header.js';
import { TYPE } from '../wire/rrtype.js';
import { select } from '../wire/selection.js';
import { askUpstream } from './lookup.js';
import type { Answer, Query, Settle, Stage } from './stage.js';

/** What the stage works with. */
export interface ValidationParts {
  readonly mode: 'require' | 'prefer' | 'trust_ad' | 'off';
  readonly validator: Validator;
  readonly pool: Pool;
  readonly clock: Clock;
  readonly log: Log;
  readonly observer: Observer;
  /** The age clock, seconds. */
  readonly nowSec: () => number;
  /** Is told each step, by someone who wants to see. */
  readonly note?: (zone: Name, words: string) => void;
}

/** What a zone's missing signatures are called; a server that strips them makes all zones look like that. */
const MISSING = new Set<string>(['rrsigs_missing', 'dnskey_missing', 'nsec_missing']);
const NOERROR = 0;
const NXDOMAIN = 3;
const YXDOMAIN = 6;
/** The RCODEs of answers that a zone can vouch for. */
const SIGNED_RCODES = new Set([NOERROR, NXDOMAIN, YXDOMAIN]);

/** What is known of servers: which of them leave signatures out. */
interface Strippers {
  readonly names: readonly string[];
  note(upstream: string, strips: boolean): void;
}

/** How long a server that stripped signatures is avoided before it is believed to be better. */
const STRIPPED_SEC = 600;

function strippers({ log, nowSec, observer }: ValidationParts): Strippers {
  let kept: readonly { readonly upstream: string; readonly untilSec: number }[] = [];
  return {
    get names() {
      if (kept.length > 0) kept = kept.filter(({ untilSec }) => untilSec > nowSec());
      return kept.map(({ upstream }) => upstream);
    },
    note(upstream, strips) {
      observer.upstreamDnssec(upstream, strips ? 'strips' : 'ok');
      const known = kept.some(each => each.upstream === upstream);
      kept = kept.filter(each => each.upstream !== upstream);
      if (strips) kept = [...kept, { upstream, untilSec: nowSec() + STRIPPED_SEC }];
      if (strips && !known)
        log.warn(
          { upstream },
          `${upstream} leaves DNSSEC signatures out of its answers: other servers are preferred; behind a router, ask it to pass DNSSEC on, or choose another server`,
        );
      if (!strips && known) log.info({ upstream }, `${upstream} passes DNSSEC signatures on again`);
    },
  };
}

/** Makes the stage. */
export function validated(parts: ValidationParts): Stage {
  const { validator, pool, clock, observer, nowSec } = parts;
  const stripping = strippers(parts);
  // Lookups on their way, for all who wait for the same.
  const asked = new Map<string, ((found: LookupResult) => void)[]>();
  // Questions that wait until others have been served, by how much they have had: a hostile zone's must keep nobody waiting.
  const resting: (() => void)[][] = [[], [], []];
  const { turn } = validator;

  function rest(slices: number, resume: () => void): void {
    resting[Math.min(slices, resting.length - 1)]?.push(resume);
    if (!turn.crowded) clock.after(0, goOn);
    turn.crowded = true;
  }
  function goOn(): void {
    turn.begin();
    // One of those that have had most, whatever comes: they shall not wait for ever.
    resting.findLast(each => each.length > 0)?.shift()?.();
    for (const each of resting) while (each.length > 0 && !turn.isOver) each.shift()?.();
    turn.crowded = resting.some(each => each.length > 0);
    if (turn.crowded) clock.after(0, goOn);
  }

  function lookup(what: Lookup, avoid: readonly string[], take: (found: LookupResult) => void): void {
    const key = `${avoid.join(' ')} ${lookupKey(what)}`;
    const waiting = asked.get(key);
    if (waiting !== undefined) {
      waiting.push(take);
      return;
    }
    const all = [take];
    asked.set(key, all);
    observer.dnssecLookup();
    askUpstream(pool, what, avoid, found => {
      asked.delete(key);
      if (found.at === 'answer' && what.type === TYPE.DNSKEY && validator.isAnchor(what.name)) {
        // A server that leaves out these leaves out all: of other zones the zone itself may be to blame.
        stripping.note(found.upstream, !found.sets.answer.some(({ signatures }) => signatures.length > 0));
      }
      for (const each of all) each(found);
    });
  }

  /** One question, from its first packet to its verdict. */
  class Validation {
    private readonly name: Name;
    private readonly guess: Guess;
    private avoid: readonly string[] = stripping.names;
    private settled = false;
    private readonly startedAtMs = clock.monotonicMs();
    private retried = false;
    // Made when they are needed: most questions wait for nothing but their answer.
    private asked: Question | undefined = undefined;
    private waiting: Map<string, (() => void)[]> | undefined = undefined;

    constructor(
      private readonly query: Query,
      private readonly settle: Settle,
    ) {
      this.name = nameOf(query.question.subarray(0, -4));
      this.guess = validator.guess(this.name, query.type, ageSec(nowSec()));
    }

    private get question(): Question {
      return (this.asked ??= validator.question(this.name, this.query.type, {
        wallNow: wallSecOf(clock.wallMs()),
        ageNow: ageSec(nowSec()),
      }));
    }

    begin(next: (query: Query, settle: Settle) => void): void {
      for (const each of this.guess.lookups) this.fetch(each, () => undefined);
      next(asking(this.query, true, this.avoid), answer => this.answered(answer, next));
    }

    private fetch(what: Lookup, then: () => void): void {
      const { avoid } = this;
      const key = lookupKey(what);
      const waiting = (this.waiting ??= new Map<string, (() => void)[]>());
      const others = waiting.get(key);
      if (others !== undefined) {
        others.push(then);
        return;
      }
      const all = [then];
      waiting.set(key, all);
      lookup(what, avoid, found => {
        // What an earlier attempt asked for is of no use to the next one.
        if (this.avoid !== avoid || waiting.get(key) !== all) return;
        waiting.delete(key);
        this.question.bring(key, found);
        for (const each of all) each();
      });
    }

    private answered(answer: Answer, next: (query: Query, settle: Settle) => void): void {
      if (answer.at !== 'stored' || !SIGNED_RCODES.has(answer.entry.rcode)) return this.done(answer);
      const { entry } = answer;
      const others = pool.upstreams.some(each => each !== entry.upstream && !this.avoid.includes(each));
      const final = !others || this.retried;
      const conclude = (whole: Entry, finding: Finding): void => {
        if ((finding.at === 'bogus' || finding.at === 'indeterminate') && !final)
          return this.again(entry.upstream, next);
        this.concluded(whole, finding);
      };
      // What the entry borrows is only good until this returns: where the verdict takes longer, it is made anew from a copy.
      const finding = this.start(entry, final, conclude);
      if (finding !== undefined) conclude(entry, finding);
    }

    /** Runs the steps; undefined: they are not done yet. */
    private start(
      entry: Entry,
      final: boolean,
      conclude: (entry: Entry, finding: Finding) => void,
    ): Finding | undefined {
      // Most are done at once, and nothing is copied. Not where it is clear that it will take longer.
      const first = turn.crowded ? undefined : this.steps(entry, final);
      const step = first?.next();
      if (step?.done === true) return step.value;
      const copy: Entry = { ...entry, octets: Buffer.from(entry.octets) };
      const steps = this.steps(copy, final);
      if (steps === undefined) return { at: 'bogus', failure: failure('parse', entry.upstream) };
      this.go(steps, finding => conclude(copy, finding));
      return undefined;
    }

    private steps(entry: Entry, final: boolean): Steps<Finding> | undefined {
      return this.question.validate(entry, HEADER_BYTES + this.query.question.length, final, parts.note);
    }

    private go(steps: Steps<Finding>, conclude: (finding: Finding) => void): void {
      for (;;) {
        const step = steps.next();
        if (step.done === true) return conclude(step.value);
        const need = step.value;
        if (need.at === 'pause') {
          return rest(this.question.slices, () => {
            this.question.rested();
            this.go(steps, conclude);
          });
        }
        let missing = need.lookups.length;
        let waits = false;
        for (const each of need.lookups) {
          this.fetch(each, () => {
            if (--missing === 0 && waits) this.go(steps, conclude);
          });
        }
        if (missing > 0) {
          waits = true;
          return;
        }
      }
    }

    /** Another server may have the truth: everything is asked anew, of somebody else, once. */
    private again(upstream: string, next: (query: Query, settle: Settle) => void): void {
      this.retried = true;
      this.avoid = [...this.avoid, upstream];
      this.question.forget();
      this.waiting = undefined;
      observer.dnssecRetry();
      this.begin(next);
    }

    private concluded(entry: Entry, finding: Finding): void {
      const { exceeded } = this.question;
      if (exceeded !== undefined) observer.dnssecLimit(exceeded);
      // Where nothing was asked, nothing was learned.
      if (this.waiting !== undefined && (finding.at === 'secure' || finding.at === 'insecure'))
        validator.learn(this.guess, ageSec(nowSec()));
      switch (finding.at) {
        case 'secure': {
          if (this.question.sentinelFails) return this.done(failure('sentinel'));
          const sound = soundPart(entry, finding, HEADER_BYTES + this.query.question.length);
          return this.verdict(
            sound === undefined ? 'bogus' : finding.untimely ? 'indeterminate' : 'secure',
            sound === undefined ? failure('parse', entry.upstream) : { at: 'stored', entry: sound, source: 'upstream' },
          );
        }
        case 'insecure':
          return this.verdict('insecure', {
            at: 'stored',
            source: 'upstream',
            entry: {
              ...entry,
              verdict: 'insecure',
              extendedErrors: finding.why === undefined ? entry.extendedErrors : [...entry.extendedErrors, finding.why],
            },
          });
        case 'bogus':
        case 'indeterminate': {
          const strips = MISSING.has(finding.failure.code) && stripping.names.includes(entry.upstream);
          // The operator has said that an upstream without DNSSEC will do; never for what is there, and wrong.
          if (strips && parts.mode === 'prefer')
            return this.verdict('indeterminate', {
              at: 'stored',
              entry: { ...entry, verdict: 'unchecked' },
              source: 'upstream',
            });
          return this.verdict(
            finding.at,
            strips
              ? failure('rrsigs_missing', `${entry.upstream} leaves them out of all answers`)
              : this.told(finding.failure),
          );
        }
      }
    }

    /** With the clock that this machine has, where that is to blame. */
    private told(why: Failure): Failure {
      const wallMs = clock.wallMs();
      if (
        (why.code !== 'signature_early' && why.code !== 'signature_expired') ||
        !validator.clockIsWrong(wallSecOf(wallMs))
      )
        return why;
      return failure(
        why.code,
        `this machine's clock says ${new Date(wallMs).toISOString().slice(0, 16)}Z, which cannot be; ${why.detail ?? ''}`,
      );
    }

    private verdict(verdict: 'secure' | 'insecure' | 'bogus' | 'indeterminate', answer: Answer): void {
      observer.validation(verdict, (clock.monotonicMs() - this.startedAtMs) / 1000);
      if (answer.at === 'failure') {
        parts.log.debug(
          { name: nameText(this.name), reason: answer.code, detail: answer.detail },
          `${nameText(this.name)} is ${verdict}: ${failureRow(answer.code).words}: ${answer.detail ?? ''}`,
        );
      }
      this.done(answer);
    }

    private done(answer: Answer): void {
      if (this.settled) return;
      this.settled = true;
      this.settle(answer);
    }
  }

  switch (parts.mode) {
    // Signatures are kept for all, and shown to those who ask for them.
    case 'off':
    case 'trust_ad':
      return next => (query, settle) => next(asking(query, query.checkingDisabled, query.avoid), settle);
    case 'require':
    case 'prefer':
      return next => (query, settle) => {
        // CD: the client does it (RFC 6840 §5.9). Signatures themselves are not signed.
        if (query.checkingDisabled || query.type === TYPE.RRSIG || query.type === TYPE.SIG)
          next(asking(query, true, query.avoid), settle);
        else new Validation(query, settle).begin(next);
      };
  }
}

/** The query as it goes upstream. Field by field, as in front: spreading would make each use of it slow. */
const asking = (
  { id, flags, question, opt, type, recurse, key, client }: Query,
  checkingDisabled: boolean,
  avoid: readonly string[],
): Query => ({ id, flags, question, opt, type, recurse, dnssecOk: true, checkingDisabled, key, client, avoid });

/** What of an answer is secure: AD must not speak of records that nobody checked (RFC 4035 §3.2.3). */
function soundPart(entry: Entry, finding: Extract<Finding, { at: 'secure' }>, questionEnd: number): Entry | undefined {
  for (const [record, ttlSec] of finding.shorter ?? [])
    entry.octets.writeUInt32BE(ttlSec, entry.ttlOffsets[record] ?? 0);
  const sound = select(entry, questionEnd, record => finding.kept[record] === true);
  return (
    sound && {
      ...sound,
      rcode: finding.rcode,
      ttlSec: Math.min(entry.ttlSec, finding.ttlSec),
      verdict: finding.untimely ? 'indeterminate' : 'secure',
    }
  );
}
