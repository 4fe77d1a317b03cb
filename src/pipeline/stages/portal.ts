// While the captive portal window is open, the portal's names are asked of the network's own resolvers.

import type { AgeSec } from '../../base/time.js';
import type { TtlLimits } from '../../cache/entry.js';
import type { Portal } from '../../policy/portal.js';
import type { Upstream } from '../../upstream/pool.js';
import { Answer } from '../answer.js';
import type { Resolve, Stage } from '../stage.js';

/** The parts that the stage uses. */
export interface PortalParts {
  readonly window: Portal;
  /** The network's own resolvers at present. */
  upstream(): Upstream;
}

/** An entry with these limits is never stored. */
const NOT_KEPT: TtlLimits = { minSec: 0, maxSec: 0, negativeMaxSec: 0 };

/** Makes the stage. */
export function portal({
  portal: { window, upstream },
  ageNow,
}: {
  readonly portal: PortalParts;
  readonly ageNow: () => AgeSec;
}): Stage {
  return next => {
    const stage: Resolve = (query, settle) => {
      if (window.leftMs === 0 || !window.covers(query.name)) next(query, settle);
      else ask(query, settle);
    };
    const ask: Resolve = (query, settle) => {
      const refusal = query.refusedToWait();
      if (refusal !== undefined) return settle(refusal);
      const asked = upstream();
      asked.exchange(query, query.type, reply => {
        if (reply.at !== 'failure') return settle(Answer.replied('portal', reply, query.type, NOT_KEPT, ageNow()));
        // The window was closed, or opened anew, while the question was on its way: it is asked as if it came now.
        const isOver = reply.code === 'handed_back' && (window.leftMs === 0 || upstream() !== asked);
        if (isOver) stage(query, settle);
        else settle(reply);
      });
    };
    return stage;
  };
}
