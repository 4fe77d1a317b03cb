// The route whose zones are the search domains of the network, and whose servers are the network's own resolvers.

import { octetsOf, ROOT_NAME } from '../dnssec/name.js';
import { isAtOrBelow, lowerCased, nameFromText } from '../wire/name.js';
import type { Plan, RoutePlan } from './plan.js';
import { systemSpecs } from './servers.js';

/**
 * Domains of one label that are used inside of networks, and that no top-level domain of the Internet has. With others, a
 * network could have all names of a top-level domain. `local` is that of multicast DNS.
 */
const INSIDE: ReadonlySet<string> = new Set([
  ...['corp', 'home', 'internal', 'intranet', 'lan', 'localdomain', 'mail', 'private', 'workgroup'],
]);

/** The routes in force, and the search domains that are no zone of them because the configuration says who has their names. */
export interface RoutesOfNetwork {
  readonly routes: readonly RoutePlan[];
  readonly refused: readonly Buffer[];
}

/**
 * The zones that the configuration says something about: those of its routes, whether their schedules are met or not, those
 * that are answered here, special-use names that are asked of `upstream`, and those of its trust anchors. A network could have names in them asked in cleartext, of its own
 * resolvers and without validation, if it announced one of them, or one below it.
 */
export const writtenZones = ({ routes, local, resolution }: WrittenPlan): readonly Buffer[] => [
  ...routes.flatMap(({ imported, zones }) => (imported ? [] : zones)),
  ...local.ownZones.map(octetsOf),
  ...resolution.forwarded,
  ...resolution.anchors.flatMap(({ zone }) => (zone === ROOT_NAME ? [] : [octetsOf(zone)])),
];

/** The parts of a plan that it reads. */
export type WrittenPlan = Pick<Plan, 'routes' | 'local'> & {
  readonly resolution: Pick<Plan['resolution'], 'anchors' | 'forwarded'>;
};

/**
 * The routes in force: those of the configuration, and the imported one as this network has it. It has none where there are
 * no search domains, or no resolvers.
 * @param plans the routes of the configuration whose schedules are met
 * @param written as `writtenZones` gives them: they are never imported, nor what is below them
 */
export function routesIn(
  plans: readonly RoutePlan[],
  written: readonly Buffer[],
  search: () => readonly string[],
  resolvers: () => readonly string[],
): RoutesOfNetwork {
  const imported = plans.find(each => each.imported);
  if (imported === undefined) return { routes: plans, refused: [] };
  const ofConfiguration = plans.filter(each => !each.imported);
  const domains = search()
    .flatMap(domain => zoneFrom(domain) ?? [])
    .filter((zone, i, all) => all.slice(0, i).every(each => !each.equals(zone)));
  const isWritten = (zone: Buffer): boolean => written.some(each => isAtOrBelow(zone, each));
  const zones = domains.filter(zone => !isWritten(zone));
  const servers = systemSpecs(resolvers()).map(each => ({ ...each, discover: false }));
  const hasRoute = zones.length > 0 && servers.length > 0;
  return {
    routes: hasRoute ? [...ofConfiguration, { ...imported, zones, servers }] : ofConfiguration,
    refused: domains.filter(isWritten),
  };
}

/** The zone of a search domain; undefined: it does not count. */
function zoneFrom(domain: string): Buffer | undefined {
  const text = domain.toLowerCase().replace(/\.$/, '');
  const isOneLabel = !text.includes('.');
  if (text === '' || (isOneLabel && !INSIDE.has(text))) return undefined;
  const name = nameFromText(text);
  return name && lowerCased(name);
}
