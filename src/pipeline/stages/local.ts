// Answers local names: those of hosts files, leases and records of the configuration, and own zones.

import { failure } from '../../base/outcome.js';
import type { AgeSec, WallSec } from '../../base/time.js';
import type { LocalAnswer, LocalTable } from '../../policy/local/table.js';
import { routeOf } from '../../policy/routes.js';
import { isOfParent, specialZoneOf } from '../../policy/special-names.js';
import { compose, questionName } from '../../wire/compose.js';
import { nameInKey } from '../../wire/query.js';
import { denialMessage } from '../../wire/reply.js';
import { Answer } from '../answer.js';
import type { Query } from '../query.js';
import type { Stage } from '../stage.js';
import { type SpecialParts, specialZoneFor } from './special-names.js';

/** The parts that the stage uses. */
export interface LocalParts extends SpecialParts {
  /** The names at present. */
  readonly localNames: () => LocalTable;
  readonly wallNow: () => WallSec;
  readonly ageNow: () => AgeSec;
}

/** Makes the stage. */
export function local(parts: LocalParts): Stage {
  const { ageNow } = parts;
  return next => (query, settle) => {
    const found = localAnswer(parts, query);
    if (found === undefined) return next(query, settle);
    if (found.at === 'circle') return settle(failure('alias_loop', 'local records'));
    const { ttlSec } = found;
    const { question } = query;
    // In the letter case of the client, as it is with other answers.
    const answer = found.answer.map(each =>
      each.owner.equals(query.name) ? { ...each, owner: questionName(question) } : each,
    );
    if (found.at === 'denial') {
      const message = denialMessage(question, Buffer.from(found.zone, 'latin1'), found.rcode, ttlSec, answer);
      return settle(Answer.known({ message, ttlSec, negative: true, ageNow: ageNow() }));
    }
    const message = compose(question, { answer }, { compress: true });
    settle(Answer.known({ message, ttlSec, negative: false, ageNow: ageNow(), unfollowed: found.target }));
  };
}

/** What the table answers; undefined: nothing. */
function localAnswer(parts: Omit<LocalParts, 'ageNow'>, query: Query): LocalAnswer | undefined {
  const table = parts.localNames();
  if (table.isEmpty || isOfOthers(query)) return undefined;
  return table.find({
    name: nameInKey(query.key),
    type: query.type,
    wallNow: parts.wallNow(),
    zone: specialZoneFor(parts, query)?.name,
    routeBytes: name => routeBytes(parts, query, name),
  });
}

function routeBytes({ routes }: Pick<LocalParts, 'routes'>, query: Query, name: string): number {
  const all = routes();
  return all.length === 0 ? 0 : (routeOf(all, Buffer.from(name, 'latin1'), query.routes)?.zone.length ?? 0);
}

/** Whether a question is answered by the public parent of a zone, even if the zone is answered here. */
function isOfOthers(query: Query): boolean {
  const name = nameInKey(query.key);
  const zone = specialZoneOf(name);
  return zone !== undefined && isOfParent(zone, name, query.type);
}
