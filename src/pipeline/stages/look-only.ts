// A query without RD reads the cache only. Only clients in access.snoop may do that.

import { failure } from '../../base/outcome.js';
import type { Matcher } from '../../policy/access.js';
import type { Stage } from '../stage.js';

/** Makes the stage. @param mayLook is called for each query without RD */
export function lookOnly({ mayLook }: { readonly mayLook: Matcher }): Stage {
  return next => (query, settle) => {
    if (query.recurse || mayLook(query.client.address)) next(query, settle);
    else settle(failure('not_cached'));
  };
}
