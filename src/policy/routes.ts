// Zones that only the local network knows, and who is asked about them instead of everybody's resolvers.

import { isAtOrBelow } from '../wire/name.js';

/** One route. */
export interface Route {
  /** In wire form, lower case. */
  readonly zones: readonly Buffer[];
  /** Whether they are of a Kubernetes cluster. */
  readonly kubernetes: boolean;
}

/** A route that a name takes, and the zone that says so. */
export interface RouteMatch<R extends Route> {
  readonly route: R;
  readonly zone: Buffer;
}

/** The route with the closest zone; undefined: the name takes none. `name` is in lower case. */
export function routeOf<R extends Route>(routes: readonly R[], name: Buffer): RouteMatch<R> | undefined {
  let found: RouteMatch<R> | undefined;
  for (const route of routes)
    for (const zone of route.zones) {
      if (zone.length > (found?.zone.length ?? 0) && isAtOrBelow(name, zone)) found = { route, zone };
    }
  return found;
}

/** Labels before `svc` of the longest name that Kubernetes makes: pod.service.namespace, and of a port: _port._proto.service.namespace. */
const MOST_SERVICE_LABELS = 3;
const MOST_PORT_LABELS = 4;
/** Before `pod`: address.namespace. */
const MOST_POD_LABELS = 2;
const UNDERSCORE = 0x5f;

/**
 * Whether no Kubernetes cluster has such a name (its DNS specification, version 1.1): search lists, which ndots:5 lets come
 * first, make `www.example.com.cluster.local` of `www.example.com`. Those that could be are asked about.
 * @param name in wire form, lower case, below `zone`
 */
export function isNoClusterName(name: Buffer, zone: Buffer): boolean {
  const labels: Buffer[] = [];
  for (let at = 0; at < name.length - zone.length; at += (name[at] ?? 0) + 1)
    labels.push(name.subarray(at + 1, at + 1 + (name[at] ?? 0)));
  const kind = labels.pop()?.toString('latin1');
  switch (kind) {
    // The zone itself.
    case undefined:
      return false;
    case 'svc':
      return labels.length > (labels[0]?.[0] === UNDERSCORE ? MOST_PORT_LABELS : MOST_SERVICE_LABELS);
    case 'pod':
      return labels.length > MOST_POD_LABELS;
    case 'dns-version':
      return labels.length > 0;
    default:
      return true;
  }
}
