// Series as plain numbers that are cheap to add to: tallies and distributions, and families of them by name.

import { bucketOf, type CountedHistogram } from '../base/front-counts.js';
import { type Labels, labelSets, type MetricRow } from './catalogue.js';

/** The prefix of every name. */
export const PREFIX = 'dotstub_';

/** A counter of one label set. */
export interface Tally {
  count: number;
}

/** A counter or gauge as it is shown. */
export interface Sample {
  readonly labels: Labels;
  readonly value: number;
}

/** A histogram as it is shown. */
export interface HistogramSample {
  readonly labels: Labels;
  readonly distribution: Distribution;
}

/** All series of one name at the time of a scrape. */
export type Family = { readonly name: string; readonly help: string; readonly labelNames: readonly string[] } & (
  | { readonly type: 'counter' | 'gauge'; samples(): readonly Sample[] }
  | { readonly type: 'histogram'; readonly bounds: readonly number[]; samples(): readonly HistogramSample[] }
);

/** The observations of one label set. */
export class Distribution {
  /** Per bucket, not cumulative; the last is for all above the bounds. */
  readonly counts: Float64Array;
  sum = 0;

  constructor(readonly bounds: readonly number[]) {
    this.counts = new Float64Array(bounds.length + 1);
  }

  /** Adds one observation. */
  observe(value: number): void {
    const bucket = bucketOf(this.bounds, value);
    this.counts[bucket] = (this.counts[bucket] ?? 0) + 1;
    this.sum += value;
  }

  /** Adds counts from elsewhere with the same buckets. */
  merge({ counts, sum }: CountedHistogram): void {
    counts.forEach((count, bucket) => (this.counts[bucket] = (this.counts[bucket] ?? 0) + count));
    this.sum += sum;
  }

  /** How many observations there are. */
  get total(): number {
    return this.counts.reduce((sum, count) => sum + count, 0);
  }
}

/** Counters of one row. */
export class Counters {
  /** By label values, in the order of the row's labels. */
  private readonly series = new Map<string, { readonly labels: Labels; readonly tally: Tally }>();
  private readonly labelNames: readonly string[];

  constructor(row: MetricRow) {
    this.labelNames = Object.keys(row.labels);
    for (const labels of labelSets(row)) this.add(labels);
  }

  /** The tally for label values, in the order of the labels. */
  at(...values: string[]): Tally {
    const known = this.series.get(values.length === 1 ? (values[0] ?? '') : values.join(' '));
    return known?.tally ?? this.add(Object.fromEntries(this.labelNames.map((label, i) => [label, values[i] ?? ''])));
  }

  /** Removes all series but those with one of these values of a label. */
  keep(label: string, values: readonly string[]): void {
    for (const [key, { labels }] of this.series) if (!values.includes(labels[label] ?? '')) this.series.delete(key);
  }

  samples(): readonly Sample[] {
    return [...this.series.values()].map(({ labels, tally }) => ({ labels, value: tally.count }));
  }

  private add(labels: Labels): Tally {
    const tally = { count: 0 };
    this.series.set(this.labelNames.map(label => labels[label]).join(' '), { labels, tally });
    return tally;
  }
}

/** A record with a value for each key. */
export function byKey<K extends string, V>(keys: readonly K[], value: (key: K) => V): Record<K, V> {
  // Object.fromEntries forgets which keys there are.
  return Object.fromEntries(keys.map(key => [key, value(key)])) as Record<K, V>;
}

/** The keys of a record, with their type. */
export function keysOf<K extends string>(record: Readonly<Record<K, unknown>>): K[] {
  // Object.keys forgets which keys there are.
  return Object.keys(record) as K[];
}

/** The label value of a type or RCODE: itself if it is listed, else `other`. */
export const within = (label: string, labels: readonly string[]): string => (labels.includes(label) ? label : 'other');
