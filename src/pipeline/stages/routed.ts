// Asks the resolvers of a route about the names of its zones, unless the answers are validated.

import { RCODE } from '../../base/outcome.js';
import type { AgeSec } from '../../base/time.js';
import type { TtlLimits } from '../../cache/entry.js';
import { isNoClusterName, type Route, type RouteMatch, routeOf } from '../../policy/routes.js';
import type { Upstream } from '../../upstream/pool.js';
import { ROOT } from '../../wire/name.js';
import { denialMessage } from '../../wire/reply.js';
import { Answer } from '../answer.js';
import type { Query } from '../query.js';
import type { Settle, Stage } from '../stage.js';

/** A route, and the servers that are asked. */
export interface RouteTarget extends Route {
  /** Whether its answers are validated: then its servers are asked in place of the others (run/upstreams). Left out: no. */
  readonly validated?: boolean;
  upstream(): Upstream;
}

/** The parts that the stage uses. */
export interface RoutedParts {
  /** The routes at present. */
  readonly routes: () => readonly RouteTarget[];
  readonly ttlLimits: () => TtlLimits;
  readonly ageNow: () => AgeSec;
}

/** The route that answers a query; undefined: none, or routes are not for its client. */
export const routeFor = <R extends Route>(routes: readonly R[], query: Query): RouteMatch<R> | undefined =>
  routes.length === 0 ? undefined : routeOf(routes, query.name, query.routes);

/** Whether a route knows a name as one of its zones. A route for all names knows none. */
export const isRouted = (routes: readonly Route[], query: Query): boolean =>
  (routeFor(routes, query)?.zone.length ?? 0) > ROOT.length;

/** The answer for a name that a cluster cannot have. */
export const noClusterName = (query: Query, zone: Buffer, ageNow: AgeSec): Answer =>
  Answer.local(denialMessage(query.question, zone, RCODE.NXDOMAIN), ageNow);

/** Makes the stage. */
export function routed({ routes, ttlLimits, ageNow }: RoutedParts): Stage {
  const ask = (route: RouteTarget, query: Query, settle: Settle): void =>
    route.upstream().exchange(query, query.type, reply => {
      if (reply.at === 'failure') settle(reply);
      else settle(Answer.replied('route', reply, query.type, ttlLimits(), ageNow()));
    });
  return next => (query, settle) => {
    const match = routeFor(routes(), query);
    if (match === undefined) return next(query, settle);
    const { route, zone } = match;
    if (route.kubernetes && isNoClusterName(query.name, zone)) return settle(noClusterName(query, zone, ageNow()));
    if (route.validated === true) next(query, settle);
    else ask(route, query, settle);
  };
}
