// The `top` command of the control socket, and what the status page shows: what is going on, looked at every second.

import type { Overview } from '../base/overview.js';
import type { ControlCommand } from './server.js';
import { privacyWords, statusData, upstreamsData } from './status.js';

/** A query, as the query log has it; `client` and `name` as far as it may tell. */
export interface TopQuery {
  readonly client?: string;
  readonly name?: string;
}

/** What there is to say. */
export interface TopParts {
  readonly overview: () => Overview;
  /** Sums since the start, in the order of base/rates. */
  readonly sums: () => readonly number[];
  /** Of the buckets among the sums, milliseconds. */
  readonly boundsMs: readonly number[];
  /** The last queries; undefined: no query log is kept. */
  readonly recent: () => readonly TopQuery[] | undefined;
}

/** Names and clients that are told. */
const MAX_LISTED = 10;

/** Makes the command; its text is for those who look once. */
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

/** What the page shows beside the status; see observe/metrics. */
export interface PageParts extends Pick<TopParts, 'overview' | 'boundsMs'> {
  /** Sums, and what else was counted since the start. */
  readonly counted: () => {
    readonly sums: readonly number[];
    readonly validations: Readonly<Record<string, number>>;
    readonly connects: readonly { readonly upstream: string; readonly made: number; readonly resumed: number }[];
    readonly causes: readonly {
      readonly code: string;
      readonly words: string;
      readonly count: number;
      readonly lastMs: number;
    }[];
  };
}

/** What /status.json says. */
export function pageData({ overview, counted, boundsMs }: PageParts): Readonly<Record<string, unknown>> {
  const { sums, validations, connects, causes } = counted();
  return {
    ...statusData(overview()),
    sums,
    bounds_ms: boundsMs,
    validations,
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
