// Checks the keys of trust anchors when they are due (RFC 5011 §2.3), also if no client asks anything.

import type { Clock } from '../../base/ports.js';
import { type AgeSec, wallSecOf } from '../../base/time.js';
import type { TrustPoints } from '../../dnssec/rollover.js';
import type { Validator } from '../../dnssec/validator.js';
import type { Upstream } from '../../upstream/pool.js';
import { TYPE } from '../../wire/rrtype.js';
import { askForSets } from '../internal-query.js';
import type { Job, JobRun } from './jobs.js';

/** The parts that the job uses. */
export interface TrustAnchorParts {
  /** The trust points at present. */
  readonly points: () => TrustPoints;
  readonly validator: Validator;
  readonly upstream: Upstream;
  /** Whether anything is validated at present. If not, no key is checked. */
  readonly validates: () => boolean;
  readonly clock: Clock;
  readonly ageNow: () => AgeSec;
}

/**
 * The shortest delay after the start: there is other work then, and the first query of a client fetches the keys, too.
 */
const LEAST_MS = 30_000;
const NOBODY: readonly number[] = [];

/** Makes the job. */
export function trustAnchorJob(parts: TrustAnchorParts): Job {
  const { points, clock } = parts;
  return {
    name: 'trust-anchors',
    dueInMs() {
      if (!parts.validates()) return Infinity;
      const due = Math.min(...points().points.map(each => each.due));
      return Math.max(1000 * due - clock.wallMs(), LEAST_MS);
    },
    run: run => look(parts, run),
  };
}

function look({ points, validator, upstream, clock, ageNow, validates }: TrustAnchorParts, run: JobRun): void {
  const wallNow = wallSecOf(clock.wallMs());
  const trust = points();
  // While the clock is wrong, nothing is due, and no key is too old.
  const isWrong = !validates() || validator.clockIsWrong(wallNow);
  const due = isWrong ? [] : trust.dueAt(wallNow);
  let missing = due.length;
  if (missing === 0) run.done();
  for (const { zone } of due) {
    askForSets(upstream, { name: zone, type: TYPE.DNSKEY }, { avoid: NOBODY }, found => {
      if (!run.closed) {
        const state = validator.renew(zone, found, { wallNow, ageNow: ageNow() });
        if (state?.at !== 'signed') trust.failed(zone, wallNow);
      }
      if (--missing === 0) run.done();
    });
  }
}
