// The state that all validations share: settings, lookups in flight, and the scheduler.

import type { Observer } from '../../base/observer.js';
import type { Clock, Log } from '../../base/ports.js';
import type { AgeSec } from '../../base/time.js';
import type { Denials } from '../../dnssec/denials.js';
import type { Name } from '../../dnssec/name.js';
import type { Validator } from '../../dnssec/validator.js';
import type { Upstream } from '../../upstream/pool.js';
import type { Query } from '../query.js';
import type { Resolve, Settle } from '../stage.js';
import { Lookups } from './lookups.js';
import { Scheduler } from './scheduler.js';
import { Strippers } from './strippers.js';
import { Validation } from './validation.js';

/** `require`: bogus answers are refused. `prefer`: the same, but servers that strip signatures are accepted. */
export type DnssecMode = 'require' | 'prefer' | 'trust_ad' | 'off';

/** The parts that validations use. */
export interface ValidationParts {
  /** Called for each question. */
  readonly dnssecMode: () => DnssecMode;
  readonly validator: Validator;
  /** What secure answers prove about other names is stored here. */
  readonly denials?: Pick<Denials, 'learn'>;
  readonly upstream: Upstream;
  readonly clock: Clock;
  readonly log: Log;
  readonly observer: Observer;
  readonly ageNow: () => AgeSec;
  /** Called with each step of the chain of trust, for a trace. */
  readonly note?: (zone: Name, words: string) => void;
}

/** The validations. */
export class Validations {
  readonly strippers: Strippers;
  readonly lookups: Lookups;
  readonly scheduler: Scheduler;

  constructor(readonly parts: ValidationParts) {
    const { validator, clock, log, ageNow, upstream, observer } = parts;
    this.strippers = new Strippers(log, ageNow);
    this.lookups = new Lookups({ upstream, validator, observer, strippers: this.strippers });
    this.scheduler = new Scheduler(validator.turn, clock);
  }

  /** The mode at present. */
  get mode(): DnssecMode {
    return this.parts.dnssecMode();
  }

  /**
   * Validates the answer to a question, from its first packet to its verdict.
   * @param next answers the question
   */
  begin(query: Query, next: Resolve, settle: Settle): void {
    new Validation(this, query, next, settle).begin();
  }

  /** Forgets failures of servers. */
  forgetFailures(): void {
    this.strippers.forget();
    this.parts.validator.zones.forgetFailures();
  }
}
