// From sums to what people want to see: rates between two looks, and quantiles from buckets.

/** As /history.json and /status.json have them: sums since the start of the daemon. */
export interface Look {
  /** Milliseconds since 1970. */
  readonly atMs: number;
  readonly cache: number;
  readonly upstream: number;
  readonly local: number;
  readonly error: number;
  readonly encrypted: number;
  readonly cleartext: number;
  /** Replies per bucket of time taken. */
  readonly durations: readonly number[];
}

/** What happened between two looks. Undefined: nothing that it could be worked out from. */
export interface Span {
  readonly atMs: number;
  /** Per second. */
  readonly queries: number;
  readonly fromCache: number;
  /** Parts of 1. */
  readonly hits: number | undefined;
  readonly encrypted: number | undefined;
  /** Milliseconds. */
  readonly median: number | undefined;
  readonly tail: number | undefined;
}

/** Reads a sample. */
export function lookFrom([
  atMs = 0,
  cache = 0,
  upstream = 0,
  local = 0,
  error = 0,
  encrypted = 0,
  cleartext = 0,
  ...durations
]: readonly number[]): Look {
  return { atMs, cache, upstream, local, error, encrypted, cleartext, durations };
}

const part = (some: number, all: number): number | undefined => (all > 0 ? some / all : undefined);
const repliesOf = ({ cache, upstream, local, error }: Look): number => cache + upstream + local + error;

/**
 * What happened from one look to the next; undefined if the daemon was started anew in between, or no time has passed.
 * @param boundsMs of the buckets, the last of which is for all above
 */
export function between(before: Look, after: Look, boundsMs: readonly number[]): Span | undefined {
  const seconds = (after.atMs - before.atMs) / 1000;
  const replies = repliesOf(after) - repliesOf(before);
  if (seconds <= 0 || replies < 0) return undefined;
  const counts = after.durations.map((count, i) => count - (before.durations[i] ?? 0));
  const fromCache = after.cache - before.cache;
  const encrypted = after.encrypted - before.encrypted;
  return {
    atMs: after.atMs,
    queries: replies / seconds,
    fromCache: fromCache / seconds,
    hits: part(fromCache, replies),
    encrypted: part(encrypted, encrypted + after.cleartext - before.cleartext),
    median: quantile(counts, boundsMs, 0.5),
    tail: quantile(counts, boundsMs, 0.99),
  };
}

/** The value that the part `q` of what was counted does not exceed, taking it for evenly spread within each bucket. */
export function quantile(counts: readonly number[], bounds: readonly number[], q: number): number | undefined {
  const total = counts.reduce((sum, count) => sum + count, 0);
  if (total <= 0) return undefined;
  let left = q * total;
  for (const [i, count] of counts.entries()) {
    const low = bounds[i - 1] ?? 0;
    const high = bounds[i] ?? low;
    if (left <= count) return low + (high - low) * (left / count);
    left -= count;
  }
  return bounds.at(-1);
}

/** E.g. `0.2`, `14`, `1,200`: as many digits as say something. */
export const numberText = (value: number): string =>
  value === 0 ? '0' : value < 10 ? value.toFixed(1) : Math.round(value).toLocaleString('en');

export const percentText = (share: number | undefined): string =>
  share === undefined
    ? '–'
    : share > 0.99 && share < 1
      ? `${(Math.floor(share * 1000) / 10).toFixed(1)} %`
      : `${Math.round(share * 100)} %`;

/** Below the first bound nothing is known but that. */
export const timeText = (ms: number | undefined, boundsMs: readonly number[]): string =>
  ms === undefined ? '–' : ms <= (boundsMs[0] ?? 0) ? `< ${boundsMs[0] ?? 0} ms` : `${numberText(ms)} ms`;

/** E.g. `3 d 4 h`, `12 min`. */
export function spanText(seconds: number): string {
  const [d, h, min] = [Math.floor(seconds / 86_400), Math.floor(seconds / 3600) % 24, Math.floor(seconds / 60) % 60];
  if (d > 0) return `${d} d ${h} h`;
  if (h > 0) return `${h} h ${min} min`;
  return min > 0 ? `${min} min` : `${Math.floor(seconds)} s`;
}
