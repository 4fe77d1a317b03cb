// Prometheus series: the one place that knows prom-client. Every label value is from a closed set, and every series
// that can be foreseen exists at 0 from the start, so that rate() works. Counting is adding to a number: the labels
// are looked up when somebody scrapes, not with every query.

import { collectDefaultMetrics, Counter, Gauge, Histogram, type HistogramConfiguration, Registry } from 'prom-client';

import { bucketOf, type CountedHistogram, DURATION_BUCKETS, FrontCounts, SIZE_BUCKETS } from '../base/front-counts.js';
import { FAILURES } from '../base/outcome.js';
import type { CleartextReason, ClosedBy, Observer, Source, Transport, UpstreamError, UpstreamProtocol } from '../base/ports.js';

/** What the metrics need from outside. */
export interface MetricsParts {
  readonly version: string;
  /** Configured upstream names, where they are known before the first query. */
  readonly upstreams: readonly string[];
  /** Names of the RR types that get a label of their own; all others are `other`. */
  readonly typeName: (type: number) => string;
  readonly rcodeName: (rcode: number) => string;
  /** Read at each scrape. */
  readonly cache: () => { readonly entries: number; readonly bytes: number };
  /** What the front threads have counted since the last scrape. */
  readonly fronts: () => readonly FrontCounts[];
}

/** The metrics. */
export interface Metrics {
  readonly observer: Observer;
  /** The exposition text for an Accept header, and its content type. */
  expose(accept: string | undefined): Promise<{ readonly contentType: string; readonly body: string }>;
}

const TRANSPORTS: readonly Transport[] = ['udp', 'tcp', 'tls'];
const FAMILIES = [4, 6] as const;
const SOURCES: readonly Source[] = ['cache', 'upstream', 'local', 'error'];
const CLEARTEXT: readonly CleartextReason[] = ['bootstrap', 'opportunistic', 'off'];
const CLOSED_BY: readonly ClosedBy[] = ['server', 'client_idle', 'error', 'drain', 'silent'];
const PROTOCOLS: readonly UpstreamProtocol[] = ['dot', 'udp', 'tcp'];
const DROPPED = ['short', 'response', 'source_port', 'connections', 'slow_client'] as const;
const HIT_KINDS = ['positive', 'negative'] as const;
const UPSTREAM_ERRORS: readonly UpstreamError[] = [
  'bootstrap', 'connect', 'connect_timeout', 'tls_verify', 'tls_alert', 'closed', 'timeout', 'parse', 'id_mismatch', 'question_mismatch',
];
const TYPE_LABELS = ['A', 'AAAA', 'HTTPS', 'PTR', 'CNAME', 'MX', 'NS', 'SOA', 'SRV', 'TXT', 'SVCB', 'DS', 'DNSKEY', 'TLSA', 'ANY', 'other'];
const RCODE_LABELS = ['NOERROR', 'FORMERR', 'SERVFAIL', 'NXDOMAIN', 'NOTIMP', 'REFUSED', 'BADVERS', 'other'];

type Labels = Readonly<Record<string, string>>;

/** A counter of one label set, cheap to add to. */
interface Tally {
  count: number;
}

declare module 'prom-client' {
  interface Histogram {
    /** What the registry calls to write text (and `get` in its turn); left out of the package's own types. */
    getForPromString(): ReturnType<Histogram['get']>;
  }
}

/** The observations of one label set, cheap to add to. */
interface Distribution {
  /** Per bucket, not cumulative; the last is for all above. */
  readonly counts: Float64Array;
  sum: number;
}

/** A histogram that is filled by adding numbers, and only looks like prom-client's when it is scraped. */
class TalliedHistogram extends Histogram {
  private readonly distributions: { readonly labels: Labels; readonly distribution: Distribution }[] = [];

  constructor(private readonly about: Pick<HistogramConfiguration<string>, 'name' | 'help' | 'registers'>, labelNames: readonly string[], private readonly bounds: readonly number[]) {
    super({ ...about, labelNames, buckets: [...bounds] });
  }

  /** The distribution of a label set, made at its first call. */
  of(labels: Labels): Distribution {
    const distribution = { counts: new Float64Array(this.bounds.length + 1), sum: 0 };
    this.distributions.push({ labels, distribution });
    return distribution;
  }

  add(distribution: Distribution, value: number): void {
    const bucket = bucketOf(this.bounds, value);
    distribution.counts[bucket] = (distribution.counts[bucket] ?? 0) + 1;
    distribution.sum += value;
  }

  /** Adds what was counted elsewhere with the same buckets. */
  merge(distribution: Distribution, { counts, sum }: CountedHistogram): void {
    counts.forEach((count, bucket) => (distribution.counts[bucket] = (distribution.counts[bucket] ?? 0) + count));
    distribution.sum += sum;
  }

  override async getForPromString(): ReturnType<Histogram['get']> {
    const { name } = this.about;
    const values = this.distributions.flatMap(({ labels, distribution: { counts, sum } }) => {
      let total = 0;
      const buckets = [...this.bounds.map(String), '+Inf'].map((le, i) => {
        total += counts[i] ?? 0;
        return { metricName: `${name}_bucket`, labels: { le, ...labels }, value: total };
      });
      return [...buckets, { metricName: `${name}_sum`, labels, value: sum }, { metricName: `${name}_count`, labels, value: total }];
    });
    return { ...await super.getForPromString(), values };
  }
}

/** Makes the metrics, in a registry of their own. */
export function metrics(parts: MetricsParts): Metrics {
  // One registry per format, over the same metrics: the format is a registry's state, and two scrapers may differ.
  const classic = new Registry();
  const open = new Registry<typeof Registry.OPENMETRICS_CONTENT_TYPE>();
  open.setContentType(Registry.OPENMETRICS_CONTENT_TYPE);
  const named = (name: string, help: string) => ({ name: `dotstub_${name}`, help, registers: [classic, open] });
  collectDefaultMetrics({ register: classic });
  collectDefaultMetrics({ register: open });

  /** A counter whose children are kept by key; `seed` are the label sets that exist from the start. */
  function tallies(name: string, help: string, labelNames: readonly string[], seed: readonly Labels[]): (...values: string[]) => Tally {
    const kept = new Map<string, { readonly tally: Tally; readonly labels: Labels; shown: number }>();
    const add = (labels: Labels): Tally => {
      const tally = { count: 0 };
      kept.set(labelNames.map(each => labels[each]).join(' '), { tally, labels, shown: 0 });
      return tally;
    };
    new Counter({
      ...named(name, help),
      labelNames,
      collect() {
        for (const each of kept.values()) {
          this.inc(each.labels, each.tally.count - each.shown);
          each.shown = each.tally.count;
        }
      },
    });
    seed.forEach(add);
    return (...values) => {
      const key = values.join(' ');
      return kept.get(key)?.tally ?? add(Object.fromEntries(labelNames.map((label, i) => [label, values[i] ?? ''])));
    };
  }
  const single = (name: string, help: string): Tally => tallies(name, help, [], [{}])();
  const each = (label: string, values: readonly string[]): Labels[] => values.map(value => ({ [label]: value }));
  const cross = (a: readonly Labels[], b: readonly Labels[]): Labels[] => a.flatMap(x => b.map(y => ({ ...x, ...y })));
  const ofUpstreams = each('upstream', parts.upstreams);
  const within = (label: string, labels: readonly string[]): string => (labels.includes(label) ? label : 'other');

  new Gauge({ ...named('build_info', 'The running program; always 1.'), labelNames: ['version', 'node', 'openssl'] })
    .set({ version: parts.version, node: process.versions.node, openssl: process.versions.openssl }, 1);

  // Clients.
  const queries = tallies('queries_total', 'Queries from clients.', ['proto', 'family', 'type'],
    cross(cross(each('proto', TRANSPORTS), each('family', FAMILIES.map(String))), each('type', TYPE_LABELS)));
  const responses = tallies('responses_total', 'Replies to clients.', ['rcode', 'source'], cross(each('rcode', RCODE_LABELS), each('source', SOURCES)));
  const dropped = tallies('dropped_total', 'Messages and connections that got no reply.', ['reason'], each('reason', DROPPED));
  const failures = tallies('failures_total', 'Error replies, by cause.', ['reason'], each('reason', Object.keys(FAILURES)));
  const refused = single('acl_refused_total', 'Queries from addresses outside access.allow.');
  const ede = tallies('ede_total', 'Extended DNS Errors in replies.', ['code'], []);
  const coalesced = single('coalesced_queries_total', 'Queries that shared the upstream exchange of another.');
  const requestSizes = new TalliedHistogram(named('request_size_bytes', 'Size of queries.'), [], SIZE_BUCKETS);
  const requestSize = requestSizes.of({});
  const responseSizes = new TalliedHistogram(named('response_size_bytes', 'Size of replies.'), [], SIZE_BUCKETS);
  const responseSize = responseSizes.of({});
  const durations = new TalliedHistogram(named('request_duration_seconds', 'From query to reply.'), ['source'], DURATION_BUCKETS);
  const duration = byKey(SOURCES, source => durations.of({ source }));
  const inflight = new Gauge(named('inflight_queries', 'Queries that wait for an answer.'));
  const clientConnections = new Gauge({ ...named('client_connections', 'Open connections of clients.'), labelNames: ['proto'] });
  for (const proto of ['tcp', 'tls']) clientConnections.set({ proto }, 0);

  // Cache.
  const hits = tallies('cache_hits_total', 'Answers from cache.', ['kind'], each('kind', HIT_KINDS));
  const positiveHits = hits('positive');
  const negativeHits = hits('negative');
  const misses = single('cache_misses_total', 'Queries that the cache could not answer.');
  const evictions = single('cache_evictions_total', 'Entries that left to make room.');
  new Gauge({ ...named('cache_entries', 'Answers in the cache.'), collect() { this.set(parts.cache().entries); } });
  new Gauge({ ...named('cache_bytes', 'Memory that they are counted with.'), collect() { this.set(parts.cache().bytes); } });

  // Upstream.
  const upstreamQueries = tallies('upstream_queries_total', 'Queries sent to servers.', ['upstream', 'proto'], cross(ofUpstreams, each('proto', PROTOCOLS)));
  const upstreamResponses = tallies('upstream_responses_total', 'Responses from servers.', ['upstream', 'rcode'], cross(ofUpstreams, each('rcode', RCODE_LABELS)));
  const upstreamErrors = tallies('upstream_errors_total', 'What went wrong with servers.', ['upstream', 'reason'], cross(ofUpstreams, each('reason', UPSTREAM_ERRORS)));
  const upstreamConnects = tallies('upstream_connects_total', 'TLS connections made.', ['upstream', 'resumed'], cross(ofUpstreams, each('resumed', ['true', 'false'])));
  const upstreamCloses = tallies('upstream_connection_closes_total', 'Connections closed, by whom.', ['upstream', 'by'], cross(ofUpstreams, each('by', CLOSED_BY)));
  const upstreamDurations = new TalliedHistogram(named('upstream_request_duration_seconds', 'From query to response.'), ['upstream'], DURATION_BUCKETS);
  const upstreamDuration = new Map(parts.upstreams.map(upstream => [upstream, upstreamDurations.of({ upstream })]));
  const handshake = new Histogram({ ...named('upstream_handshake_duration_seconds', 'TCP and TLS handshake.'), labelNames: ['upstream'], buckets: [...DURATION_BUCKETS] });
  const upstreamConnections = new Gauge({ ...named('upstream_connections', 'Open connections to servers.'), labelNames: ['upstream'] });
  const upstreamUp = new Gauge({ ...named('upstream_up', '1 where the last TLS handshake succeeded.'), labelNames: ['upstream'] });
  const upstreamAuthenticated = new Gauge({ ...named('upstream_authenticated', '1 where the server proved its name.'), labelNames: ['upstream'] });
  for (const upstream of parts.upstreams) {
    handshake.zero({ upstream });
    for (const gauge of [upstreamConnections, upstreamUp, upstreamAuthenticated]) gauge.set({ upstream }, 0);
  }
  const replays = single('upstream_replays_total', 'Queries asked again because a connection closed.');
  const hedges = single('upstream_hedges_total', 'Queries asked again because a connection went silent.');
  const cleartext = tallies('cleartext_queries_total', 'Queries that left unencrypted.', ['reason'], each('reason', CLEARTEXT));

  // Looked up once, not per query: a table by RCODE for each source, and by type for each way in.
  const responseTally = byKey(SOURCES, source =>
    Array.from({ length: 24 }, (_, rcode) => responses(within(parts.rcodeName(rcode), RCODE_LABELS), source)));
  const queryTallies = byKey(TRANSPORTS, transport => ({ 4: tallyByType(transport, 4), 6: tallyByType(transport, 6) }));
  function tallyByType(transport: Transport, family: 4 | 6): Tally[] {
    return Array.from({ length: FrontCounts.otherType }, (_, type) => queries(transport, String(family), within(parts.typeName(type), TYPE_LABELS)));
  }
  const queryTally = (transport: Transport, family: 4 | 6, type: number): Tally =>
    queryTallies[transport][family][type] ?? queries(transport, String(family), 'other');

  const observer: Observer = {
    query(transport, family, type, bytes) {
      queryTally(transport, family, type).count++;
      requestSizes.add(requestSize, bytes);
    },
    response(rcode, source, seconds, bytes) {
      (responseTally[source][rcode] ?? responses('other', source)).count++;
      durations.add(duration[source], seconds);
      responseSizes.add(responseSize, bytes);
    },
    dropped: reason => void dropped(reason).count++,
    failure(code) {
      failures(code).count++;
      if (code === 'not_allowed') refused.count++;
    },
    // INFO-CODEs come from servers too: those without a name share a label.
    ede: infoCode => void ede(infoCode <= HIGHEST_EDE ? String(infoCode) : 'other').count++,
    inflight: delta => inflight.inc(delta),
    clientConnections: (proto, delta) => clientConnections.inc({ proto }, delta),
    cache(event) {
      switch (event) {
        case 'hit_positive':
          return void positiveHits.count++;
        case 'hit_negative':
          return void negativeHits.count++;
        case 'miss':
          return void misses.count++;
        case 'eviction':
          return void evictions.count++;
      }
    },
    coalesced: () => void coalesced.count++,
    upstreamQuery: (upstream, protocol) => void upstreamQueries(upstream, protocol).count++,
    upstreamResponse(upstream, rcode, seconds) {
      upstreamResponses(upstream, within(parts.rcodeName(rcode), RCODE_LABELS)).count++;
      const known = upstreamDuration.get(upstream);
      if (known !== undefined) upstreamDurations.add(known, seconds);
    },
    upstreamError: (upstream, code) => void upstreamErrors(upstream, code).count++,
    upstreamConnect(upstream, resumed, handshakeSeconds) {
      upstreamConnects(upstream, String(resumed)).count++;
      handshake.observe({ upstream }, handshakeSeconds);
    },
    upstreamConnections: (upstream, delta) => upstreamConnections.inc({ upstream }, delta),
    upstreamClose: (upstream, by) => void upstreamCloses(upstream, by).count++,
    upstreamState(upstream, up, authenticated) {
      upstreamUp.set({ upstream }, up ? 1 : 0);
      upstreamAuthenticated.set({ upstream }, authenticated ? 1 : 0);
    },
    replay: () => void replays.count++,
    hedge: () => void hedges.count++,
    cleartext: reason => void cleartext(reason).count++,
  };

  function absorb(front: FrontCounts): void {
    for (const family of [4, 6] as const) {
      for (let type = 0; type <= FrontCounts.otherType; type++) {
        const count = front.queries(family, type);
        if (count > 0) queryTally('udp', family, type).count += count;
      }
    }
    responseTally.cache.forEach((tally, rcode) => (tally.count += rcode < 16 ? front.replies(rcode) : 0));
    positiveHits.count += front.hits('positive');
    negativeHits.count += front.hits('negative');
    requestSizes.merge(requestSize, front.requestSizes);
    responseSizes.merge(responseSize, front.responseSizes);
    durations.merge(duration.cache, front.durations);
  }

  return {
    observer,
    async expose(accept) {
      parts.fronts().forEach(absorb);
      const registry = accept?.includes('application/openmetrics-text') === true ? open : classic;
      return { contentType: registry.contentType, body: await registry.metrics() };
    },
  };
}

/** A record with a value for each key. */
function byKey<K extends string, V>(keys: readonly K[], value: (key: K) => V): Record<K, V> {
  // Object.fromEntries forgets which keys there are.
  return Object.fromEntries(keys.map(key => [key, value(key)])) as Record<K, V>;
}

// The last INFO-CODE that IANA had assigned when this was written.
const HIGHEST_EDE = 30;
