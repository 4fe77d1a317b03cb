// The `top` command of the control socket, and the data of the status page: the current activity, requested every
// second.

import type { Overview } from '../base/overview.js';
import type { ControlCommand } from './server.js';
import { privacyWords, statusData, upstreamsData } from './status.js';

/** A query of the query log; `client` and `name` only if its detail includes them. */
export interface TopQuery {
  readonly client?: string;
  readonly name?: string;
}

/** The parts that the command uses. */
export interface TopParts {
  readonly overview: () => Overview;
  /** Sums since the start, in the order of base/rates. */
  readonly sums: () => readonly number[];
  /** The upper bounds of the buckets among the sums, milliseconds. */
  readonly boundsMs: readonly number[];
  /** The last queries; undefined: there is no query log. */
  readonly recent: () => readonly TopQuery[] | undefined;
}

/** The most names and clients in a reply. */
const MAX_LISTED = 10;

/** Makes the command. Its text is for people who look once. */
export const topCommand = (parts: TopParts): ControlCommand => ({
  run() {
    const recent = parts.recent();
    const overview = parts.overview();
    const data = {
      sums: parts.sums(),
      bounds_ms: parts.boundsMs,
      privacy_words: privacyWords(overview),
      upstreams: upstreamsData(overview),
      names: recent && mostFrequent(recent.flatMap(({ name }) => name ?? [])),
      clients: recent && mostFrequent(recent.flatMap(({ client }) => client ?? [])),
    };
    return { ok: true, text: JSON.stringify(data), data };
  },
});

/** Data of the page besides the status; see observe/metrics. */
export interface PageParts extends Pick<TopParts, 'overview' | 'boundsMs'> {
  /** Sums and other counts since the start. */
  readonly counted: () => {
    readonly sums: readonly number[];
    readonly validations: Readonly<Record<string, number>>;
    readonly hits: Readonly<Record<string, number>>;
    readonly connects: readonly { readonly upstream: string; readonly made: number; readonly resumed: number }[];
    readonly causes: readonly {
      readonly code: string;
      readonly words: string;
      readonly count: number;
      readonly lastMs: number;
    }[];
  };
}

/** The data of /status.json. */
export function pageData({ overview, counted, boundsMs }: PageParts): Readonly<Record<string, unknown>> {
  const { sums, validations, hits, connects, causes } = counted();
  return {
    ...statusData(overview()),
    sums,
    bounds_ms: boundsMs,
    validations,
    hits,
    connects,
    causes: causes.map(({ code, words, count, lastMs }) => ({ code, words, count, last_ms: lastMs })),
  };
}

/** The values that come most often, with their counts. */
function mostFrequent(values: readonly string[]): (readonly [string, number])[] {
  const counts = new Map<string, number>();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  return [...counts].sort(([, a], [, b]) => b - a).slice(0, MAX_LISTED);
}
