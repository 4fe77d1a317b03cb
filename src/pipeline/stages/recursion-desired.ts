// RFC 1035 §4.3.1: without RD nothing is fetched.

import { failure } from '../../base/outcome.js';
import type { Stage } from '../stage.js';

/** The stage. */
export const recursionDesired: Stage = next => (query, settle) => {
  if (query.recurse) next(query, settle);
  else settle(failure('not_cached'));
};
