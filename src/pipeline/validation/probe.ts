// Finds out whether a server passes DNSSEC signatures on, if an answer of it lacks them: a zone without signatures, or a
// lookup that failed by chance, would look the same. The keys of a trust anchor are always signed. A server that gives
// its SOA but not its keys cannot be validated, either.

import type { Name } from '../../dnssec/name.js';
import type { LookupResult } from '../../dnssec/steps.js';
import type { ServerName } from '../../upstream/endpoint.js';
import { TYPE } from '../../wire/rrtype.js';
import type { Lookups } from './lookups.js';
import type { Strippers } from './strippers.js';

/** The parts that a probe uses. */
export interface ProbeParts {
  readonly lookups: Lookups;
  readonly strippers: Strippers;
  /** All servers. */
  readonly servers: () => readonly ServerName[];
}

/**
 * Asks the server, and notes what it finds.
 * @param anchor the zone of a trust anchor
 * @param keys the result of a lookup of its keys, if there was one already
 * @param routesEpoch when the question began that the answer is to
 * @param then called once; the state of the server may be unknown still
 */
export function probeSignatures(
  { lookups, strippers, servers }: ProbeParts,
  id: number,
  anchor: Name,
  keys: LookupResult | undefined,
  routesEpoch: number | undefined,
  then: () => void,
): void {
  const server = servers().find(each => each.id === id);
  // It was removed meanwhile.
  if (server === undefined) return then();
  const { epoch } = strippers;
  const avoid = servers().flatMap(each => (each.id === id ? [] : [each.id]));
  const how = { avoid, routesEpoch };
  const isFromIt = (found: LookupResult): boolean => found.at === 'answer' && found.upstream === server.label;
  const looked = (found: LookupResult): void => {
    // The lookup has noted what its answer shows.
    if (isFromIt(found)) return then();
    lookups.ask({ name: anchor, type: TYPE.SOA }, how, soa => {
      if (isFromIt(soa) && epoch === strippers.epoch) strippers.note(server, true);
      then();
    });
  };
  if (keys?.at === 'failure') looked(keys);
  else lookups.ask({ name: anchor, type: TYPE.DNSKEY }, how, looked);
}
