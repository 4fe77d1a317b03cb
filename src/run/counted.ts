// The counts, and how they are shown: for scrapers, for the status page, for "dotstub top".

import { DURATION_BUCKETS, type FrontCounts } from '../base/front-counts.js';
import type { Observer } from '../base/observer.js';
import type { LatelyOverview, Overview } from '../base/overview.js';
import type { Clock } from '../base/ports.js';
import { notReady } from '../control/status.js';
import { pageData, type TopParts } from '../control/top.js';
import { sumsOf } from '../observe/history.js';
import { type Metrics, metrics } from '../observe/metrics.js';
import { rcodeToText } from '../wire/rcode.js';
import { typeToText } from '../wire/rrtype.js';
import type { WebParts } from './web.js';

/** The parts that it is made from. */
export interface CountedParts {
  readonly clock: Clock;
  readonly overview: () => Overview;
  /** The counts of the front threads since the last call. */
  readonly fronts: () => readonly FrontCounts[];
  /** Called when it was asked whether the daemon is ready, and is not. */
  readonly recheck: () => void;
}

const BOUNDS_MS = DURATION_BUCKETS.map(seconds => seconds * 1000);

/** The counts. */
export class Counted {
  private readonly metrics: Metrics;

  constructor(private readonly parts: CountedParts) {
    this.metrics = metrics({
      typeName: typeToText,
      rcodeName: rcodeToText,
      overview: parts.overview,
      fronts: parts.fronts,
      wallMs: () => parts.clock.wallMs(),
    });
  }

  /** Takes note of what happens. */
  get observer(): Observer {
    return this.metrics.observer;
  }

  /** The questions of the last minutes. */
  get lately(): LatelyOverview {
    return this.metrics.lately;
  }

  /** For scrapers. */
  readonly expose: Metrics['expose'] = async form => this.metrics.expose(form);

  /** A frame of dnstap was lost. */
  readonly dnstapLost = (): void => this.metrics.dnstapLost();

  /** An HTTP connection was closed for another one, or refused. */
  readonly httpDropped = (): void => this.metrics.httpDropped();

  /** Milliseconds since 1970, and sums since the start, in the order of base/rates. */
  private readonly sums = (): number[] => [this.parts.clock.wallMs(), ...this.sumsAlone()];

  private readonly sumsAlone = (): number[] => sumsOf(this.metrics.glance());

  /** The data of the HTTP side. */
  get page(): Omit<WebParts, 'clock' | 'log' | 'maxConnections'> {
    const { overview, recheck } = this.parts;
    const counted = () => ({ ...this.metrics.glance(), sums: this.sums() });
    return {
      metrics: this,
      notReady: () => {
        const why = notReady(overview());
        if (why !== undefined) recheck();
        return why?.words;
      },
      status: () => pageData({ overview, boundsMs: BOUNDS_MS, counted }),
      sums: this.sumsAlone,
    };
  }

  /** The data of "dotstub top". */
  get top(): Pick<TopParts, 'sums' | 'boundsMs'> {
    return { sums: this.sums, boundsMs: BOUNDS_MS };
  }
}
