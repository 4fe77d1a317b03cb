// Routes: zones that only the local network knows, and the resolvers for them.

import { closest, isAtOrBelow } from '../wire/name.js';
import { ALL_ROUTES, NO_ROUTES, type RouteSet } from '../wire/query.js';

/** One route. */
export interface Route {
  /** In wire form, lower case. */
  readonly zones: readonly Buffer[];
  /** Whether the zones belong to a Kubernetes cluster. */
  readonly kubernetes: boolean;
  /** Of which sets it is a part; undefined: it is for everybody who has routes. */
  readonly only?: ReadonlySet<RouteSet> | undefined;
}

/** The route of a name, and its closest zone. */
export interface RouteMatch<R extends Route> {
  readonly route: R;
  readonly zone: Buffer;
}

const itself = (zone: Buffer): Buffer => zone;

/**
 * The route with the closest zone; undefined: none. Of those with the same zone, the first that is not for everybody counts,
 * then the first. `name` is in lower case.
 * @param set which routes are for who asks
 */
export function routeOf<R extends Route>(
  routes: readonly R[],
  name: Buffer,
  set: RouteSet = ALL_ROUTES,
): RouteMatch<R> | undefined {
  let match: RouteMatch<R> | undefined;
  if (set === NO_ROUTES) return undefined;
  for (const route of routes) {
    const { only } = route;
    if (only?.has(set) === false) continue;
    const zone = closest(name, route.zones, itself, isAtOrBelow);
    if (zone === undefined) continue;
    const before = match?.zone.length ?? 0;
    const isOwn = only !== undefined && match?.route.only === undefined;
    if (zone.length > before || (zone.length === before && isOwn)) match = { route, zone };
  }
  return match;
}

/** Most labels before `svc`: pod.service.namespace, or of a port _port._proto.service.namespace. */
const MOST_SERVICE_LABELS = 3;
const MOST_PORT_LABELS = 4;
/** Most labels before `pod`: address.namespace. */
const MOST_POD_LABELS = 2;
const UNDERSCORE = 0x5f;

/**
 * Whether no Kubernetes cluster can have such a name (Kubernetes DNS specification 1.1). With ndots:5, clients try
 * their search list first, and ask for `www.example.com.cluster.local` when they mean `www.example.com`.
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
