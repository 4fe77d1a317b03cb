// The end of the line: asks upstream.

import type { AgeSec } from '../../base/time.js';
import type { TtlLimits } from '../../cache/entry.js';
import type { Upstream } from '../../upstream/pool.js';
import { FLAG, flagsOf } from '../../wire/header.js';
import { Answer } from '../answer.js';
import type { Resolve } from '../stage.js';
import type { DnssecMode } from '../validation/validations.js';

/** What it works with. */
export interface ForwardParts {
  readonly upstream: Upstream;
  readonly dnssecMode: () => DnssecMode;
  readonly ttlLimits: () => TtlLimits;
  readonly ageNow: () => AgeSec;
}

/** Makes it. */
export function forward({ upstream, dnssecMode, ttlLimits, ageNow }: ForwardParts): Resolve {
  return (query, settle) =>
    upstream.exchange(
      query,
      query.type,
      reply => {
        if (reply.at === 'failure') return settle(reply);
        // RFC 6840 §5.7: AD counts if the server has proved who it is, and the operator trusts it.
        const isSecure =
          reply.authenticated &&
          !query.checkingDisabled &&
          (flagsOf(reply.message) & FLAG.AD) !== 0 &&
          dnssecMode() === 'trust_ad';
        settle(Answer.replied('upstream', reply, ttlLimits(), ageNow(), isSecure ? 'secure' : 'unchecked'));
      },
      query.avoid,
    );
}
