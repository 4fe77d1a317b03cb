// The route whose zones are the search domains of the network, and whose servers are the network's own resolvers.

import { lowerCased, nameFromText } from '../wire/name.js';
import type { RoutePlan } from './plan.js';
import { systemSpecs } from './servers.js';

/**
 * Domains of one label that are used inside of networks, and that no top-level domain of the Internet has. With others, a
 * network could have all names of a top-level domain. `local` is that of multicast DNS.
 */
const INSIDE: ReadonlySet<string> = new Set([
  ...['corp', 'home', 'internal', 'intranet', 'lan', 'localdomain', 'mail', 'private', 'workgroup'],
]);

/**
 * The routes in force: those of the configuration, and the imported one as this network has it. It has none where there are
 * no search domains, or no resolvers.
 * @param plans the routes of the configuration whose schedules are met
 * @param all those whose schedules are not met, too: their zones are never imported
 */
export function routesIn(
  plans: readonly RoutePlan[],
  all: readonly RoutePlan[],
  search: () => readonly string[],
  resolvers: () => readonly string[],
): readonly RoutePlan[] {
  const written = plans.filter(({ imported }) => !imported);
  const imported = plans.find(each => each.imported);
  if (imported === undefined) return plans;
  const known = all.filter(each => !each.imported).flatMap(({ zones }) => zones);
  const zones = search()
    .flatMap(domain => zoneFrom(domain) ?? [])
    .filter((zone, i, all) => [...known, ...all.slice(0, i)].every(each => !each.equals(zone)));
  const servers = systemSpecs(resolvers()).map(each => ({ ...each, discover: false }));
  return zones.length === 0 || servers.length === 0 ? written : [...written, { ...imported, zones, servers }];
}

/** The zone of a search domain; undefined: it does not count. */
function zoneFrom(domain: string): Buffer | undefined {
  const text = domain.toLowerCase().replace(/\.$/, '');
  const isOneLabel = !text.includes('.');
  if (text === '' || (isOneLabel && !INSIDE.has(text))) return undefined;
  const name = nameFromText(text);
  return name && lowerCased(name);
}
