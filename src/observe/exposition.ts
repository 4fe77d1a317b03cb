// Metrics as Prometheus reads them: the one place that knows prom-client.

import { collectDefaultMetrics, Counter, Gauge, Histogram, type HistogramConfiguration, Registry } from 'prom-client';

import type { Family } from './families.js';

declare module 'prom-client' {
  interface Histogram {
    /** What the registry calls to write text (and `get` in its turn); left out of the package's own types. */
    getForPromString(): ReturnType<Histogram['get']>;
  }
}

/** Gives the exposition text that suits an Accept header, and its content type. */
export type Exposition = (
  accept: string | undefined,
) => Promise<{ readonly contentType: string; readonly body: string }>;

/** Makes an Exposition of families, and of what Node.js tells about its process. */
export function exposition(families: readonly Family[]): Exposition {
  // One registry per format, over the same metrics: the format is a registry's state, and two scrapers may differ.
  const classic = new Registry();
  const open = new Registry<typeof Registry.OPENMETRICS_CONTENT_TYPE>();
  open.setContentType(Registry.OPENMETRICS_CONTENT_TYPE);
  const registers = [classic, open];
  collectDefaultMetrics({ register: classic });
  collectDefaultMetrics({ register: open });

  for (const family of families) {
    const { name, help, labelNames } = family;
    switch (family.type) {
      case 'counter':
        new Counter({
          name,
          help,
          labelNames,
          registers,
          collect() {
            this.reset();
            for (const { labels, value } of family.samples()) this.inc(labels, value);
          },
        });
        break;
      case 'gauge':
        new Gauge({
          name,
          help,
          labelNames,
          registers,
          collect() {
            // Label sets come and go.
            this.reset();
            for (const { labels, value } of family.samples()) this.set(labels, value);
          },
        });
        break;
      case 'histogram':
        new ShownHistogram({ name, help, labelNames, registers, buckets: [...family.bounds] }, family);
    }
  }
  return async accept => {
    const registry = accept?.includes('application/openmetrics-text') === true ? open : classic;
    return { contentType: registry.contentType, body: await registry.metrics() };
  };
}

/** A histogram whose values are ours. */
class ShownHistogram extends Histogram {
  constructor(
    configuration: HistogramConfiguration<string>,
    private readonly family: Extract<Family, { type: 'histogram' }>,
  ) {
    super(configuration);
  }

  override async getForPromString(): ReturnType<Histogram['get']> {
    const { name, bounds } = this.family;
    const values = this.family.samples().flatMap(({ labels, distribution: { counts, sum } }) => {
      let total = 0;
      const buckets = [...bounds.map(String), '+Inf'].map((le, i) => {
        total += counts[i] ?? 0;
        return { metricName: `${name}_bucket`, labels: { le, ...labels }, value: total };
      });
      return [
        ...buckets,
        { metricName: `${name}_sum`, labels, value: sum },
        { metricName: `${name}_count`, labels, value: total },
      ];
    });
    return { ...(await super.getForPromString()), values };
  }
}
