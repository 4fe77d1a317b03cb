// The state that all validations share: settings, lookups in flight, and the scheduler.

import type { Observer } from '../../base/observer.js';
import type { Clock, Log } from '../../base/ports.js';
import type { AgeSec } from '../../base/time.js';
import type { Entry } from '../../cache/entry.js';
import type { Denials } from '../../dnssec/denials.js';
import type { Name } from '../../dnssec/name.js';
import { lookupKey, type LookupResult } from '../../dnssec/steps.js';
import type { Validator } from '../../dnssec/validator.js';
import type { ServerName } from '../../upstream/endpoint.js';
import type { Upstream } from '../../upstream/pool.js';
import { TYPE } from '../../wire/rrtype.js';
import type { Query } from '../query.js';
import type { Resolve, Settle } from '../stage.js';
import { Lookups } from './lookups.js';
import { probeSignatures } from './probe.js';
import type { RememberedLookups } from './remembered.js';
import { Scheduler } from './scheduler.js';
import { Strippers } from './strippers.js';
import { Validation } from './validation.js';
import { Verdicts } from './verdicts.js';

/** `require`: bogus answers are refused. `prefer`: the same, but servers that strip signatures are accepted. */
export type DnssecMode = 'require' | 'prefer' | 'trust_ad' | 'off';

const NOBODY: readonly number[] = [];

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
  /** Whether servers are asked if they leave out signatures. One question alone, as a trace, need not know. */
  readonly probes?: true;
  /** Whether a server has stopped answering. Left out: not known. */
  readonly isDoubtful?: (serverId: number) => boolean;
  /** Where responses that have proven something are kept for the next start; left out: nowhere. */
  readonly remembered?: RememberedLookups;
  /** The answer of before the restart to a question, which must be validated again. */
  readonly restored?: (key: string) => Entry | undefined;
  /** Called with the key of such an answer that was found bogus. */
  readonly disproved?: (key: string) => void;
  /** Called with each step of the chain of trust, for a trace. */
  readonly note?: (zone: Name, words: string) => void;
}

/** The validations. */
export class Validations {
  readonly strippers: Strippers;
  readonly verdicts = new Verdicts();
  readonly lookups: Lookups;
  readonly scheduler: Scheduler;

  constructor(readonly parts: ValidationParts) {
    const { validator, clock, log, ageNow, upstream, observer } = parts;
    this.strippers = new Strippers(log, ageNow, () => this.mode === 'prefer');
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

  /** Whether answers without signatures of this server are accepted. */
  accepts(serverId: number): boolean {
    return this.mode === 'prefer' && this.strippers.stateOf(serverId) === 'strips';
  }

  /** Ids of servers to avoid: those that leave signatures out, if a question has somewhere else to go. */
  get toAvoid(): readonly number[] {
    const { ids } = this.strippers;
    return ids.length === 0 || this.hasOther(ids) ? ids : NOBODY;
  }

  /**
   * Whether there is a server that could answer differently.
   * @param avoided ids of those that are to be avoided
   * @param asked the id of the one that was asked
   */
  hasOther(avoided: readonly number[], asked?: number): boolean {
    const { upstream, isDoubtful } = this.parts;
    // Names resolve without validation rather than late: one that does not answer is not waited for.
    const mayAnswer = (id: number): boolean => this.mode !== 'prefer' || isDoubtful?.(id) !== true;
    return upstream.servers.some(({ id }) => id !== asked && !avoided.includes(id) && mayAnswer(id));
  }

  /** Whether they are of all servers, so that there is nothing to validate with. */
  get acceptsAll(): boolean {
    const { servers } = this.parts.upstream;
    return this.mode === 'prefer' && servers.length > 0 && servers.every(({ id }) => this.accepts(id));
  }

  /**
   * Finds out whether a server passes signatures on.
   * @param about a name that it was asked about, and when the question began
   * @param results of lookups that it was asked for
   */
  probe(
    serverId: number,
    { name, routesEpoch }: { readonly name: Name; readonly routesEpoch: number | undefined },
    results: ReadonlyMap<string, LookupResult>,
    then: () => void,
  ): void {
    const { parts, lookups, strippers } = this;
    const anchor = parts.probes === true ? parts.validator.anchorOf(name) : undefined;
    if (anchor === undefined) return then();
    const keys = results.get(lookupKey({ name: anchor, type: TYPE.DNSKEY }));
    const servers = (): readonly ServerName[] => parts.upstream.servers;
    probeSignatures({ lookups, strippers, servers }, serverId, anchor, keys, routesEpoch, then);
  }

  /** Forgets what was proven about some names. */
  forget(isMeant: (name: Name) => boolean): void {
    const { validator, remembered } = this.parts;
    validator.zones.forget(isMeant);
    remembered?.forget(isMeant);
  }

  /** Forgets failures of servers. */
  forgetFailures(): void {
    this.strippers.forget();
    this.verdicts.forget();
    this.parts.validator.zones.forgetFailures();
  }
}
