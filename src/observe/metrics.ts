// The metrics: the counts, and the gauges at the time of a scrape.

import { DURATION_BUCKETS, type FrontCounts } from '../base/front-counts.js';
import type { Observer, Source } from '../base/observer.js';
import type { LatelyOverview, Overview } from '../base/overview.js';
import { SOURCES } from './catalogue.js';
import { type Cause, Counting, type CountingParts } from './counting.js';
import type { Exposed, Exposition, ExpositionForm } from './exposition.js';
import { byKey } from './families.js';
import { gauges } from './gauges.js';

/** The parts that the metrics use. */
export interface MetricsParts extends CountingParts {
  /** The state of the daemon, taken once for each scrape. */
  readonly overview: () => Overview;
  /** The counts of the front threads since the last call. */
  readonly fronts: () => readonly FrontCounts[];
}

/** Sums since the start, for the status page, `top` and the history. */
export interface Glance {
  /** Replies by their source. */
  readonly replies: Readonly<Record<Source, number>>;
  /** Replies by the bucket of DURATION_BUCKETS for their duration; the last is for longer ones. */
  readonly durations: readonly number[];
  /** Queries that were sent over TLS, and in cleartext. */
  readonly encrypted: number;
  readonly cleartext: number;
  readonly validations: Readonly<Record<string, number>>;
  /** Answers from cache by their kind, and answers that were refreshed ahead of their end. */
  readonly hits: Readonly<Record<string, number>>;
  /** TLS connections by server: how many were made, and how many of them resumed a session. */
  readonly connects: readonly { readonly upstream: string; readonly made: number; readonly resumed: number }[];
  /** Causes of error replies, the latest first. */
  readonly causes: readonly Cause[];
}

/** The metrics. */
export interface Metrics {
  readonly observer: Observer;
  glance(): Glance;
  /** The questions of the last minutes. */
  readonly lately: LatelyOverview;
  /** A frame of dnstap was lost. */
  dnstapLost(): void;
  /** An HTTP connection was closed for another one, or refused. */
  httpDropped(): void;
  /** The exposition text, and its content type. */
  expose(form: ExpositionForm): Promise<Exposed>;
}

/** The form that an Accept header asks for. */
export const formFor = (accept: string | undefined): ExpositionForm =>
  accept?.includes('application/openmetrics-text') === true ? 'openmetrics' : 'text';

/** Makes the metrics. */
export function metrics(parts: MetricsParts): Metrics {
  const counting = new Counting(parts);
  let exposition: Promise<Exposition> | undefined;
  const absorb = (): void => parts.fronts().forEach(front => counting.absorb(front));
  return {
    observer: counting,
    dnstapLost: () => counting.dnstapLost(),
    get lately() {
      return counting.lately;
    },
    httpDropped: () => counting.httpDropped(),
    glance() {
      absorb();
      const { durations, servers } = counting;
      return {
        replies: byKey(SOURCES, source => durations[source].total),
        durations: [...DURATION_BUCKETS, Infinity].map((_, bucket) =>
          SOURCES.reduce((sum, source) => sum + (durations[source].counts[bucket] ?? 0), 0),
        ),
        encrypted: servers.sent.encrypted,
        cleartext: servers.sent.cleartext,
        validations: counting.validations(),
        hits: counting.hits(),
        connects: servers.connects(),
        causes: counting.latestCauses(),
      };
    },
    async expose(form) {
      // Loaded at the first scrape: loading takes a large part of the time of a start.
      exposition ??= import('./exposition.js')
        .then(loaded => loaded.exposition())
        .catch((error: unknown) => {
          // The file may be there again at the next scrape, e.g. after an update of the package.
          exposition = undefined;
          throw error;
        });
      const expose = await exposition;
      absorb();
      const overview = parts.overview();
      return expose(form, [...counting.families(), ...gauges(() => overview)]);
    },
  };
}
