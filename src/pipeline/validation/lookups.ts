// The DS and DNSKEY RRsets that validation asks for. Each is asked for once at a time, however many validations need
// it.

import type { Observer } from '../../base/observer.js';
import { type Lookup, lookupKey, type LookupResult } from '../../dnssec/steps.js';
import type { Validator } from '../../dnssec/validator.js';
import type { ServerName } from '../../upstream/endpoint.js';
import type { Upstream } from '../../upstream/pool.js';
import { TYPE } from '../../wire/rrtype.js';
import { Coalescer } from '../coalescer.js';
import { askForSets, type OwnQuestion } from '../internal-query.js';
import type { Strippers } from './strippers.js';

/** The parts that lookups use. */
export interface LookupParts {
  readonly upstream: Upstream;
  readonly validator: Validator;
  readonly observer: Observer;
  readonly strippers: Strippers;
}

/** How lookups are asked for. */
export type HowAsked = Pick<OwnQuestion, 'avoid' | 'routesEpoch'>;

const LISTS = 256;

/** The lookups in flight. Each validation bounds its own, and the front bounds the validations. */
export class Lookups {
  private readonly pending = new Coalescer<LookupResult>(LISTS);

  constructor(private readonly parts: LookupParts) {}

  /**
   * Asks.
   * @param how which servers are only asked if there is no other, and when the question began that needs it
   * @param take called once, now or later
   */
  ask(lookup: Lookup, how: HowAsked, take: (found: LookupResult) => void): void {
    const { upstream, observer, validator } = this.parts;
    // What began earlier may be handed back.
    const key = `${how.avoid.join(' ')} ${lookupKey(lookup)}`;
    const pending = this.pending.join(key, validator.zones.epoch, how.routesEpoch, take);
    if (pending === undefined) return;
    observer.dnssecLookup();
    const { epoch } = this.parts.strippers;
    askForSets(upstream, lookup, how, (found, server) => {
      if (server !== undefined && epoch === this.parts.strippers.epoch) this.watch(lookup, found, server);
      this.pending.finish(pending, found);
    });
  }

  /**
   * Notes whether the server strips signatures. The keys of a trust anchor are always signed. For other zones, the zone
   * itself may have no signatures.
   */
  private watch(lookup: Lookup, found: LookupResult, server: ServerName): void {
    const { validator, strippers } = this.parts;
    if (found.at !== 'answer' || lookup.type !== TYPE.DNSKEY || !validator.isAnchor(lookup.name)) return;
    strippers.note(server, !found.sets.answer.some(({ signatures }) => signatures.length > 0));
  }
}
