// Metrics as plain numbers: families of series, each series a number or a distribution that others add to.

/** Label values by label name. */
export type Labels = Readonly<Record<string, string>>;

/** A counter or gauge of one label set, cheap to add to. */
export interface Tally {
  count: number;
}

/** The observations of one label set. */
export interface Distribution {
  readonly bounds: readonly number[];
  /** Per bucket, not cumulative; the last is for all above the bounds. */
  readonly counts: Float64Array;
  sum: number;
}

/** Series of one name. */
export type Family = { readonly name: string; readonly help: string; readonly labelNames: readonly string[] } & (
  | { readonly type: 'counter' | 'gauge'; samples(): readonly { readonly labels: Labels; readonly value: number }[] }
  | {
      readonly type: 'histogram';
      readonly bounds: readonly number[];
      samples(): readonly { readonly labels: Labels; readonly distribution: Distribution }[];
    }
);

/** Finds the tally for label values, in the order of the label names. */
export type Find = (...values: string[]) => Tally;

/** Makes families; `all` grows with each. */
export function families(): {
  readonly all: readonly Family[];
  /** @param seed label sets that exist from the start */
  counters(name: string, help: string, labelNames: readonly string[], seed: readonly Labels[]): Find;
  gauges(name: string, help: string, labelNames: readonly string[], seed: readonly Labels[]): Find;
  /** A gauge that is read when somebody scrapes. */
  read(name: string, help: string, value: () => number): void;
  /** Gauges whose label sets are only known then. */
  readAll(
    name: string,
    help: string,
    labelNames: readonly string[],
    samples: () => readonly { readonly labels: Labels; readonly value: number }[],
  ): void;
  histogram(
    name: string,
    help: string,
    labelNames: readonly string[],
    bounds: readonly number[],
  ): (labels: Labels) => Distribution;
} {
  const all: Family[] = [];
  const prefixed = (name: string): string => `dotstub_${name}`;

  function tallies(
    type: 'counter' | 'gauge',
    name: string,
    help: string,
    labelNames: readonly string[],
    seed: readonly Labels[],
  ): Find {
    const kept = new Map<string, { readonly tally: Tally; readonly labels: Labels }>();
    const add = (labels: Labels): Tally => {
      const tally = { count: 0 };
      kept.set(labelNames.map(each => labels[each]).join(' '), { tally, labels });
      return tally;
    };
    seed.forEach(add);
    all.push({
      type,
      name: prefixed(name),
      help,
      labelNames,
      samples: () => [...kept.values()].map(({ tally, labels }) => ({ labels, value: tally.count })),
    });
    return (...values) =>
      kept.get(values.length === 1 ? (values[0] ?? '') : values.join(' '))?.tally ??
      add(Object.fromEntries(labelNames.map((label, i) => [label, values[i] ?? ''])));
  }

  return {
    all,
    counters: (...about) => tallies('counter', ...about),
    gauges: (...about) => tallies('gauge', ...about),
    readAll(name, help, labelNames, samples) {
      all.push({ type: 'gauge', name: prefixed(name), help, labelNames, samples });
    },
    read(name, help, value) {
      all.push({
        type: 'gauge',
        name: prefixed(name),
        help,
        labelNames: [],
        samples: () => [{ labels: {}, value: value() }],
      });
    },
    histogram(name, help, labelNames, bounds) {
      const kept: { readonly labels: Labels; readonly distribution: Distribution }[] = [];
      all.push({ type: 'histogram', name: prefixed(name), help, labelNames, bounds, samples: () => kept });
      return labels => {
        const distribution = { bounds, counts: new Float64Array(bounds.length + 1), sum: 0 };
        kept.push({ labels, distribution });
        return distribution;
      };
    },
  };
}
