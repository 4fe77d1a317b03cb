// The end of the pipeline: asks upstream.

import type { AgeSec } from '../../base/time.js';
import type { TtlLimits } from '../../cache/entry.js';
import type { Upstream } from '../../upstream/pool.js';
import { FLAG, flagsOf } from '../../wire/header.js';
import { Answer } from '../answer.js';
import type { Resolve } from '../stage.js';
import type { DnssecMode } from '../validation/validations.js';

/** The parts that it uses. */
export interface ForwardParts {
  readonly upstream: Upstream;
  readonly dnssecMode: () => DnssecMode;
  readonly ttlLimits: () => TtlLimits;
  readonly ageNow: () => AgeSec;
}

/** Makes the end of the pipeline. */
export function forward({ upstream, dnssecMode, ttlLimits, ageNow }: ForwardParts): Resolve {
  return (query, settle) =>
    upstream.exchange(
      query,
      query.type,
      reply => {
        if (reply.at === 'failure') return settle(reply);
        // RFC 6840 §5.7: AD counts if the server was authenticated and the operator trusts it.
        const isSecure =
          reply.authenticated &&
          !query.checkingDisabled &&
          (flagsOf(reply.message) & FLAG.AD) !== 0 &&
          dnssecMode() === 'trust_ad';
        settle(Answer.replied('upstream', reply, query.type, ttlLimits(), ageNow(), isSecure ? 'secure' : 'unchecked'));
      },
      query.avoid,
    );
}
