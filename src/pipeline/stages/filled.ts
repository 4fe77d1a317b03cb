// Puts the addresses of chosen zones into sets of the firewall, before the client gets them: its first packet must meet the
// rule for it already.
//
// Such answers are kept out of the ready replies: front threads send those without asking anybody, and after the rules were
// loaded anew the sets are empty until an answer comes by here. In the cache they are like others.

import { RCODE } from '../../base/outcome.js';
import type { AgeSec } from '../../base/time.js';
import { elementsOf, type FirewallSet, setsFor } from '../../policy/firewall-sets.js';
import { mayGiveAddresses } from '../../wire/record-addresses.js';
import type { Answer } from '../answer.js';
import type { Query } from '../query.js';
import type { SetFiller } from '../set-filler.js';
import type { Settle, Stage } from '../stage.js';
import { questionEndOf } from '../without-records.js';

/** The parts that the stage uses. */
export interface FilledParts {
  readonly firewallSets: () => readonly FirewallSet[];
  readonly filler: Pick<SetFiller, 'missing' | 'fill'>;
  readonly ageNow: () => AgeSec;
}

/** Makes the stage. */
export function filled(parts: FilledParts): Stage {
  const { firewallSets } = parts;
  return next => (query, settle) => {
    const all = firewallSets();
    const hasAddresses = all.length > 0 && mayGiveAddresses(query.type);
    const sets = hasAddresses ? setsFor(all, query.name) : NO_SETS;
    next(query, sets.length === 0 ? settle : filling(parts, sets, query, settle));
  };
}

const NO_SETS: readonly FirewallSet[] = [];

/** Puts the addresses of an answer into sets before it is given. */
function filling({ filler, ageNow }: FilledParts, sets: readonly FirewallSet[], query: Query, settle: Settle): Settle {
  return outcome => {
    if (outcome.at === 'failure' || outcome.entry.rcode !== RCODE.NOERROR) return settle(outcome);
    const elapsedSec = outcome.elapsedSec(ageNow());
    const missing = filler.missing(elementsOf(sets, outcome.entry, questionEndOf(query), elapsedSec));
    if (missing.length === 0) return settle(notReady(outcome));
    const refusal = query.refusedToWait();
    if (refusal !== undefined) return settle(refusal);
    // Its octets are borrowed until this returns.
    const own = outcome.withEntry({ ...outcome.entry, octets: Buffer.from(outcome.entry.octets) });
    filler.fill(missing, () => settle(notReady(own)));
  };
}

/** The same answer, for this client only. */
const notReady = (answer: Answer): Answer => answer.withEntry({ ...answer.entry, ttlSec: 0 });
