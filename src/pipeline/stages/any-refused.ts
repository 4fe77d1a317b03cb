// Answers queries for ANY with one small synthesised record (RFC 8482).

import type { AgeSec } from '../../base/time.js';
import { refuseAnyMessage } from '../../wire/reply.js';
import { TYPE } from '../../wire/rrtype.js';
import { Answer } from '../answer.js';
import type { Stage } from '../stage.js';

/** Makes the stage. */
export function anyRefused({ ageNow }: { readonly ageNow: () => AgeSec }): Stage {
  return next => (query, settle) => {
    if (query.type === TYPE.ANY) settle(Answer.local(refuseAnyMessage(query.question), ageNow()));
    else next(query, settle);
  };
}
