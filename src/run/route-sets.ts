// Which numbers stand for which groups of clients in the keys of cached answers (wire/query).

import { FIRST_ROUTE_SET, LAST_ROUTE_SET, type RouteSet } from '../wire/query.js';

/** The sets of groups that had routes of their own, the oldest first, and of those that have, by name. */
export type RouteSets = ReadonlyMap<string, RouteSet>;

/**
 * Numbers the sets. A group keeps its number over reloads, and nobody gets that of another one, which questions may still
 * have that wait for an answer; unless all have been given. There are twice as many as groups.
 * @param names the groups that have routes of their own
 * @param before those of the plan before
 */
export function routeSetsOf(names: ReadonlySet<string>, before: RouteSets): RouteSets {
  const former = new Map([...before].filter(([name]) => !names.has(name)));
  const sets = new Map([...before].filter(([name]) => names.has(name)));
  const taken = new Set(before.values());
  const free: RouteSet[] = [];
  for (let set = FIRST_ROUTE_SET; set <= LAST_ROUTE_SET; set++) if (!taken.has(set)) free.push(set);
  const oldest = [...former];
  for (const name of names) {
    if (sets.has(name)) continue;
    const [given, set] = oldest[0] ?? [];
    if (free.length === 0 && given !== undefined && set !== undefined) {
      oldest.shift();
      former.delete(given);
      free.push(set);
    }
    const next = free.shift();
    if (next === undefined) throw new Error('there are more groups than the keys of cached answers have numbers for');
    sets.set(name, next);
  }
  return new Map([...former, ...sets]);
}
