// Turns sums into rates and quantiles, for the page and `top`.

/** A sample of the daemon's counters, from /history.json or /status.json: sums since its start. */
export interface Sums {
  /** Milliseconds since 1970. */
  readonly atMs: number;
  readonly cache: number;
  readonly upstream: number;
  readonly local: number;
  readonly error: number;
  readonly encrypted: number;
  readonly cleartext: number;
  /** Replies per bucket of their duration. */
  readonly durations: readonly number[];
}

/** What happened between two samples. A value is undefined if no counted event allows computing it. */
export interface Rates {
  readonly atMs: number;
  /** Queries per second. */
  readonly queries: number;
  /** Answers from cache per second. */
  readonly fromCache: number;
  /** The share of replies that came from cache, 0 to 1. */
  readonly hits: number | undefined;
  /** The share of queries to servers that were encrypted, 0 to 1. */
  readonly encrypted: number | undefined;
  /** The median duration, in milliseconds. */
  readonly median: number | undefined;
  /** The 99th percentile of durations, in milliseconds. */
  readonly tail: number | undefined;
}

/** Makes a sample of the numbers of /history.json. */
export function sumsFrom([
  atMs = 0,
  cache = 0,
  upstream = 0,
  local = 0,
  error = 0,
  encrypted = 0,
  cleartext = 0,
  ...durations
]: readonly number[]): Sums {
  return { atMs, cache, upstream, local, error, encrypted, cleartext, durations };
}

const part = (some: number, all: number): number | undefined => (all > 0 ? some / all : undefined);
const repliesOf = ({ cache, upstream, local, error }: Sums): number => cache + upstream + local + error;

/**
 * What happened from one sample to the next; undefined if the daemon was restarted in between, or no time has passed.
 * @param boundsMs the upper bounds of the buckets but the last, which has none
 */
export function between(before: Sums, after: Sums, boundsMs: readonly number[]): Rates | undefined {
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

/** The quantile `q` (0 to 1) of counted values, which are taken as evenly spread within their bucket; undefined without values. */
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

/** A number for people, with the digits that matter: `0.2`, `14`, `1,200`. */
export const numberText = (value: number): string =>
  value === 0 ? '0' : value < 10 ? value.toFixed(1) : Math.round(value).toLocaleString('en');

/** A share for people. A share just below 1 never becomes `100 %`. */
export const percentText = (share: number | undefined): string =>
  share === undefined
    ? '–'
    : share > 0.99 && share < 1
      ? `${(Math.floor(share * 1000) / 10).toFixed(1)} %`
      : `${Math.round(share * 100)} %`;

/** A duration for people. Below the first bound, the buckets show only that it is shorter. */
export const latencyText = (ms: number | undefined, boundsMs: readonly number[]): string =>
  ms === undefined ? '–' : ms <= (boundsMs[0] ?? 0) ? `< ${boundsMs[0] ?? 0} ms` : `${numberText(ms)} ms`;

/** A long duration for people: `3 d 4 h`, `12 min`. */
export function durationText(seconds: number): string {
  const [d, h, min] = [Math.floor(seconds / 86_400), Math.floor(seconds / 3600) % 24, Math.floor(seconds / 60) % 60];
  if (d > 0) return `${d} d ${h} h`;
  if (h > 0) return `${h} h ${min} min`;
  return min > 0 ? `${min} min` : `${Math.floor(seconds)} s`;
}

const KIB = 1 << 10;
const MIB = 1 << 20;

/** A size in octets for people: `300 KiB`, `11 MiB`, `11.3 MiB`. */
export const sizeText = (bytes: number): string =>
  bytes < MIB ? `${Math.round(bytes / KIB)} KiB` : `${(bytes / MIB).toFixed(1).replace(/\.0$/, '')} MiB`;

/** How full the cache is. `limitBytes` of the `sizeBytes` of cache.size are for answers. */
export const cacheText = ({
  entries,
  bytes,
  limitBytes,
  sizeBytes,
}: Readonly<Record<'entries' | 'bytes' | 'limitBytes' | 'sizeBytes', number>>): string =>
  `${entries.toLocaleString('en')} answer${entries === 1 ? '' : 's'} in ${sizeText(bytes)} of the ${sizeText(limitBytes)} that cache.size (${sizeText(sizeBytes)}) has for them`;
