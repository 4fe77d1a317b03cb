// The `top` command of the control socket: what is going on, for whoever looks every second.

import type { ControlCommand } from './server.js';

/** A query, as the query log has it; `client` and `name` as far as it may tell. */
export interface TopQuery {
  readonly client?: string;
  readonly name?: string;
}

/** What there is to say. */
export interface TopParts {
  /** Sums since the start, in the order of base/rates. */
  readonly sums: () => readonly number[];
  readonly boundsMs: readonly number[];
  /** The last queries; undefined: no query log is kept. */
  readonly recent: () => readonly TopQuery[] | undefined;
  readonly upstreams: () => readonly unknown[];
  readonly privacyWords: () => string;
}

const MOST = 10;

/** Makes the command; its text is for those who look once. */
export const topCommand = (parts: TopParts): ControlCommand => ({
  run() {
    const recent = parts.recent();
    const data = {
      sums: parts.sums(),
      bounds_ms: parts.boundsMs,
      privacy_words: parts.privacyWords(),
      upstreams: parts.upstreams(),
      names: recent && most(recent.flatMap(({ name }) => name ?? [])),
      clients: recent && most(recent.flatMap(({ client }) => client ?? [])),
    };
    return { ok: true, text: JSON.stringify(data), data };
  },
});

/** The values that come most often, with their counts. */
function most(values: readonly string[]): (readonly [string, number])[] {
  const counts = new Map<string, number>();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  return [...counts].sort(([, a], [, b]) => b - a).slice(0, MOST);
}
