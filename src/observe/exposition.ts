// Writes metrics in the formats of Prometheus. Only this file uses prom-client.

import {
  collectDefaultMetrics,
  Counter,
  Gauge,
  Histogram,
  type HistogramConfiguration,
  Registry,
  type RegistryContentType,
} from 'prom-client';

import { EVENT_LOOP_NAMES, EventLoop } from './event-loop.js';
import type { Family } from './families.js';

declare module 'prom-client' {
  interface Histogram {
    /** What the registry calls to write text (and `get` in its turn); left out of the package's own types. */
    getForPromString(): ReturnType<Histogram['get']>;
  }
}

/** Metrics as text. */
export interface Exposed {
  readonly contentType: string;
  readonly body: string;
}

/** The format of Prometheus, or OpenMetrics. */
export type ExpositionForm = 'text' | 'openmetrics';

/** Writes families, and the process metrics of Node.js. */
export type Exposition = (form: ExpositionForm, families: readonly Family[]) => Promise<Exposed>;

type AnyRegistry = Registry<RegistryContentType>;

/**
 * Makes an Exposition. Each format has its own registry and metric objects: when prom-client writes OpenMetrics, it
 * renames counters in place, and a classic registry with the same objects would lose `_total`.
 */
export function exposition(): Exposition {
  const eventLoop = new EventLoop();
  const registries = new Map<RegistryContentType, AnyRegistry>();
  const registryOf = (contentType: RegistryContentType): AnyRegistry => {
    const known = registries.get(contentType);
    if (known !== undefined) return known;
    const made = ofProcess(contentType);
    registries.set(contentType, made);
    return made;
  };
  return async (form, families) => {
    const registry = registryOf(
      form === 'openmetrics' ? Registry.OPENMETRICS_CONTENT_TYPE : Registry.PROMETHEUS_CONTENT_TYPE,
    );
    // Series come and go, so the objects are made for each scrape. The registry reads all of them before it waits.
    for (const family of [...families, ...(await eventLoop.families())]) {
      registry.removeSingleMetric(family.name);
      show(family, registry);
    }
    return { contentType: registry.contentType, body: await registry.metrics() };
  };
}

/** prom-client must not measure the event loop: this interval is so long that it never does. */
const NEVER_MS = 86_400_000;

/**
 * Gauges of prom-client whose names are those of counters. They are the sums of gauges that stay, such as
 * nodejs_active_handles by type.
 */
const MISNAMED = ['nodejs_active_handles_total', 'nodejs_active_requests_total', 'nodejs_active_resources_total'];

/** A registry with prom-client's process metrics, without those of the event loop. */
function ofProcess(contentType: RegistryContentType): AnyRegistry {
  const registry = new Registry<RegistryContentType>();
  registry.setContentType(contentType);
  collectDefaultMetrics({ register: registry, eventLoopMonitoringPrecision: NEVER_MS });
  for (const name of [...EVENT_LOOP_NAMES, ...MISNAMED]) registry.removeSingleMetric(name);
  return registry;
}

function show(family: Family, registry: AnyRegistry): void {
  const { name, help, labelNames } = family;
  const about = { name, help, labelNames, registers: [registry] };
  switch (family.type) {
    case 'counter': {
      const counter = new Counter(about);
      for (const { labels, value } of family.samples()) counter.inc(labels, value);
      return;
    }
    case 'gauge': {
      const gauge = new Gauge(about);
      // Without labels, prom-client starts with a 0.
      gauge.reset();
      for (const { labels, value } of family.samples()) gauge.set(labels, value);
      return;
    }
    case 'histogram':
      new ShownHistogram({ ...about, buckets: [...family.bounds] }, family);
  }
}

/** A histogram with our own values. */
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
