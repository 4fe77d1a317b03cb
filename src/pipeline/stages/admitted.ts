// Where queries begin to wait: those of clients are limited, in all and for each client (access.per_client).

import type { Stage } from '../stage.js';

/** The stage. What is refused fails at once. */
export const admitted: Stage = next => (query, settle) => {
  const refusal = query.refusedToWait();
  if (refusal === undefined) next(query, settle);
  else settle(refusal);
};
