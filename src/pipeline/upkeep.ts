// Looks at the keys of trust anchors when they are due (RFC 5011 §2.3), whether anybody asks for names or not.

import type { Clock } from '../base/ports.js';
import { ageSec, wallSecOf } from '../base/time.js';
import type { TrustPoints } from '../dnssec/rollover.js';
import type { Validator } from '../dnssec/validator.js';
import type { Pool } from '../upstream/pool.js';
import { TYPE } from '../wire/rrtype.js';
import { askUpstream } from './lookup.js';

/** What it works with. */
export interface UpkeepParts {
  readonly points: TrustPoints;
  readonly validator: Validator;
  readonly pool: Pool;
  readonly clock: Clock;
  /** The age clock, seconds. */
  readonly nowSec: () => number;
}

/** Not at once: who starts has other things to do, and the first question brings the keys anyway. */
const FIRST_MS = 30_000;
/** A timer that is not longer than this also finds out when the machine has slept through the time. */
const LONGEST_MS = 3_600_000;

/** Begins; ends when it is closed. */
export function upkeep({ points, validator, pool, clock, nowSec }: UpkeepParts): { close(): void } {
  let cancel = clock.after(FIRST_MS, look);
  let closed = false;

  function look(): void {
    const wallNow = wallSecOf(clock.wallMs());
    // With a clock that is wrong, nothing is due.
    const due = validator.clockIsWrong(wallNow) ? [] : points.dueAt(wallNow);
    for (const { zone } of due) {
      askUpstream(pool, { name: zone, type: TYPE.DNSKEY }, [], found => {
        const at = closed ? undefined : validator.renew(zone, found, { wallNow, ageNow: ageSec(nowSec()) })?.at;
        if (at !== 'signed') points.failed(zone, wallNow);
      });
    }
    const nextSec = Math.min(...points.points.map(({ due }) => due));
    cancel = clock.after(Math.min(Math.max((nextSec - wallNow) * 1000, FIRST_MS), LONGEST_MS), look);
  }
  return {
    close() {
      closed = true;
      cancel();
    },
  };
}
