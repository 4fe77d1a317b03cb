// What all validations share: settings, the lookups on their way, and who computes next.

import type { Observer } from '../../base/observer.js';
import type { Clock, Log } from '../../base/ports.js';
import type { AgeSec } from '../../base/time.js';
import type { Name } from '../../dnssec/name.js';
import type { Validator } from '../../dnssec/validator.js';
import type { Upstream } from '../../upstream/pool.js';
import type { Query } from '../query.js';
import type { Resolve, Settle } from '../stage.js';
import { Lookups } from './lookups.js';
import { Scheduler } from './scheduler.js';
import { Strippers } from './strippers.js';
import { Validation } from './validation.js';

/** `require`: what is bogus is refused. `prefer`: the same, but servers that leave signatures out are accepted. */
export type DnssecMode = 'require' | 'prefer' | 'trust_ad' | 'off';

/** What validations work with. */
export interface ValidationParts {
  /** Read at each question. */
  readonly dnssecMode: () => DnssecMode;
  readonly validator: Validator;
  readonly upstream: Upstream;
  readonly clock: Clock;
  readonly log: Log;
  readonly observer: Observer;
  readonly ageNow: () => AgeSec;
  /** Is told each step of the chain of trust, for somebody who wants to see. */
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

  /** The mode as it is now. */
  get mode(): DnssecMode {
    return this.parts.dnssecMode();
  }

  /** Validates a question, from its first packet to its verdict. @param next gets the answer that is validated */
  begin(query: Query, next: Resolve, settle: Settle): void {
    new Validation(this, query, next, settle).begin();
  }

  /** Forgets what was learnt from servers that failed. */
  forgetFailures(): void {
    this.strippers.forget();
    this.parts.validator.zones.forgetFailures();
  }
}
