// The metrics: what was counted, and what is the case when somebody scrapes.

import { DURATION_BUCKETS, type FrontCounts } from '../base/front-counts.js';
import type { Observer, Source } from '../base/observer.js';
import type { Overview } from '../base/overview.js';
import { SOURCES } from './catalogue.js';
import { type Cause, Counting, type CountingParts } from './counting.js';
import type { Exposed, Exposition } from './exposition.js';
import { byKey } from './families.js';
import { gauges } from './gauges.js';

/** What the metrics need from outside. */
export interface MetricsParts extends CountingParts {
  /** How the daemon is doing; taken once for each scrape. */
  readonly overview: () => Overview;
  /** What the front threads have counted since the last call. */
  readonly fronts: () => readonly FrontCounts[];
}

/** Sums since the start, for status page, `top` and history. */
export interface Glance {
  /** Replies, by where they came from. */
  readonly replies: Readonly<Record<Source, number>>;
  /** Replies by the bucket of DURATION_BUCKETS that the time they took falls into; the last is for all above. */
  readonly durations: readonly number[];
  /** Queries that we sent over TLS, and in cleartext. */
  readonly encrypted: number;
  readonly cleartext: number;
  readonly validations: Readonly<Record<string, number>>;
  /** TLS connections by server: how many, and how many of them resumed a session. */
  readonly connects: readonly { readonly upstream: string; readonly made: number; readonly resumed: number }[];
  /** Error replies by cause, the latest first. */
  readonly causes: readonly Cause[];
}

/** The metrics. */
export interface Metrics {
  readonly observer: Observer;
  glance(): Glance;
  /** A frame of dnstap was lost. */
  dnstapLost(): void;
  /** The exposition text for an Accept header, and its content type. */
  expose(accept: string | undefined): Promise<Exposed>;
}

/** Makes the metrics. */
export function metrics(parts: MetricsParts): Metrics {
  const counting = new Counting(parts);
  let exposition: Promise<Exposition> | undefined;
  const absorb = (): void => parts.fronts().forEach(front => counting.absorb(front));
  return {
    observer: counting,
    dnstapLost: () => counting.dnstapLost(),
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
        connects: servers.connects(),
        causes: counting.latestCauses(),
      };
    },
    async expose(accept) {
      // Loaded by the first scrape: it takes a good part of the time that all the rest takes to start.
      exposition ??= import('./exposition.js').then(loaded => loaded.exposition());
      const expose = await exposition;
      absorb();
      const overview = parts.overview();
      return expose(accept, [...counting.families(), ...gauges(() => overview)]);
    },
  };
}
