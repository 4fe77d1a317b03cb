// While the captive portal window is open, the portal's names are asked of the network's own resolvers.

import type { AgeSec } from '../../base/time.js';
import type { TtlLimits } from '../../cache/entry.js';
import type { Portal } from '../../policy/portal.js';
import type { Upstream } from '../../upstream/pool.js';
import { Answer } from '../answer.js';
import type { Stage } from '../stage.js';

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
  return next => (query, settle) => {
    if (window.leftMs === 0 || !window.covers(query.name)) return next(query, settle);
    upstream().exchange(query, query.type, reply =>
      settle(reply.at === 'failure' ? reply : Answer.replied('portal', reply, NOT_KEPT, ageNow())),
    );
  };
}
