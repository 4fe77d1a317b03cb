// Takes the snapshot of the daemon's state, on request, from its parts.

import type { Facts, LatelyOverview, Overview, PortalOverview } from '../base/overview.js';
import type { Clock } from '../base/ports.js';
import type { MonoMs } from '../base/time.js';
import type { StateStore } from '../os/state-store.js';
import type { OpenPortal } from '../policy/portal.js';
import { findingsOf } from '../control/health.js';
import type { Certificates } from './certificates.js';
import type { Designating } from './designating.js';
import type { Firewall } from './firewall.js';
import type { Configuration } from './configuration.js';
import type { Listeners } from './listeners.js';
import type { ListService } from './list-service.js';
import type { Logging } from './logging.js';
import type { LocalNames } from './local-names.js';
import type { Network } from './network.js';
import type { Reload } from './reload.js';
import type { Resolution } from './resolution.js';
import type { SharedCache } from './shared-cache.js';
import type { Service } from './service.js';
import type { Upstreams } from './upstreams.js';
import type { Web } from './web.js';

/** The parts that are read. */
export interface OverviewParts {
  readonly version: string;
  /** Brings into force what schedules say now: their timer may be late, and after a sleep it is. */
  readonly lookAtTime: () => void;
  readonly clock: Clock;
  readonly startedAt: MonoMs;
  readonly network: Network;
  readonly localNames: LocalNames;
  readonly counted: { readonly lately: LatelyOverview };
  readonly upstreams: Upstreams;
  readonly firewall: Firewall;
  readonly resolution: Resolution;
  readonly sharedCache: SharedCache;
  readonly listeners: Listeners;
  readonly certificates: Certificates;
  readonly designating: Designating;
  readonly lists: ListService;
  readonly web: Web;
  readonly logging: Logging;
  readonly store: StateStore;
  readonly output: { readonly unwritten: string | undefined };
  readonly service: Service;
  readonly reload: Reload;
  readonly configuration: Configuration;
}

const portalOverview = (open: OpenPortal | undefined): PortalOverview | undefined =>
  open && {
    by: open.cause.by,
    url: open.cause.by === 'detected' ? open.cause.url : undefined,
    visit: open.visit,
    openMs: open.openMs,
    leftMs: open.leftMs,
  };

/** Takes the snapshot. */
export function overviewOf(parts: OverviewParts): Overview {
  parts.lookAtTime();
  const facts = factsOf(parts);
  return { ...facts, findings: findingsOf(facts) };
}

function factsOf(parts: OverviewParts): Facts {
  const { network, upstreams, resolution, listeners } = parts;
  return {
    version: parts.version,
    upMs: parts.clock.monotonicMs() - parts.startedAt,
    mode: upstreams.mode,
    dnssec: resolution.dnssecMode,
    servers: upstreams.overview(id => resolution.dnssecOf(id)),
    unanswered: upstreams.unanswered,
    cache: resolution.cache,
    sharedCache: parts.sharedCache.overview,
    staleSec: resolution.staleSec,
    inflight: listeners.inflight,
    sessions: listeners.sessions,
    listening: listeners.listening,
    unserved: [...listeners.unserved, ...parts.web.unserved],
    unfilled: parts.firewall.filler.problems,
    portal: portalOverview(resolution.portal.open),
    trustAnchors: resolution.trust.keys,
    lostTrust: resolution.lostTrust,
    local: parts.localNames.overview,
    certificates: parts.certificates.overview,
    designation: parts.designating.overview,
    validation: resolution.validation,
    clockIsSet: network.clockIsSet,
    clockIsBehind: network.clockIsBefore,
    lately: parts.counted.lately,
    lists: parts.lists.overview,
    surroundings: network.surroundings,
    draining: parts.service.draining,
    reload: parts.configuration.state,
    waiting: parts.reload.waiting,
    unwritten: [...parts.store.unwritten, ...parts.logging.unwritten, parts.output.unwritten].filter(
      each => each !== undefined,
    ),
  };
}
