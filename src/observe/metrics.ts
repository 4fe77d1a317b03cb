// Prometheus series: the one place that knows prom-client. Every label value is from a closed set, and every series
// that can be foreseen exists at 0 from the start, so that rate() works. Counting is adding to a number: the labels
// are looked up when somebody scrapes, not with every query.

import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';

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
// 0.25 ms doubled 15 times: cached answers at one end, the client deadline well before the other.
const DURATION_BUCKETS = Array.from({ length: 16 }, (_, i) => 0.00025 * 2 ** i);
const SIZE_BUCKETS = [64, 128, 256, 512, 1232, 4096, 16384, 65535];

type Labels = Readonly<Record<string, string>>;

/** A counter of one label set, cheap to add to. */
interface Tally {
  count: number;
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
  const requestSize = new Histogram({ ...named('request_size_bytes', 'Size of queries.'), buckets: SIZE_BUCKETS });
  const responseSize = new Histogram({ ...named('response_size_bytes', 'Size of replies.'), buckets: SIZE_BUCKETS });
  const duration = new Histogram({ ...named('request_duration_seconds', 'From query to reply.'), labelNames: ['source'], buckets: DURATION_BUCKETS });
  SOURCES.forEach(source => duration.zero({ source }));
  const inflight = new Gauge(named('inflight_queries', 'Queries that wait for an answer.'));
  const clientConnections = new Gauge({ ...named('client_connections', 'Open connections of clients.'), labelNames: ['proto'] });
  for (const proto of ['tcp', 'tls']) clientConnections.set({ proto }, 0);

  // Cache.
  const hits = tallies('cache_hits_total', 'Answers from cache.', ['kind'], each('kind', HIT_KINDS));
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
  const upstreamDuration = new Histogram({ ...named('upstream_request_duration_seconds', 'From query to response.'), labelNames: ['upstream'], buckets: DURATION_BUCKETS });
  const handshake = new Histogram({ ...named('upstream_handshake_duration_seconds', 'TCP and TLS handshake.'), labelNames: ['upstream'], buckets: DURATION_BUCKETS });
  const upstreamConnections = new Gauge({ ...named('upstream_connections', 'Open connections to servers.'), labelNames: ['upstream'] });
  const upstreamUp = new Gauge({ ...named('upstream_up', '1 where the last TLS handshake succeeded.'), labelNames: ['upstream'] });
  const upstreamAuthenticated = new Gauge({ ...named('upstream_authenticated', '1 where the server proved its name.'), labelNames: ['upstream'] });
  for (const upstream of parts.upstreams) {
    upstreamDuration.zero({ upstream });
    handshake.zero({ upstream });
    for (const gauge of [upstreamConnections, upstreamUp, upstreamAuthenticated]) gauge.set({ upstream }, 0);
  }
  const replays = single('upstream_replays_total', 'Queries asked again because a connection closed.');
  const hedges = single('upstream_hedges_total', 'Queries asked again because a connection went silent.');
  const cleartext = tallies('cleartext_queries_total', 'Queries that left unencrypted.', ['reason'], each('reason', CLEARTEXT));

  const observer: Observer = {
    query(transport, family, type, bytes) {
      queries(transport, String(family), within(parts.typeName(type), TYPE_LABELS)).count++;
      requestSize.observe(bytes);
    },
    response(rcode, source, seconds, bytes) {
      responses(within(parts.rcodeName(rcode), RCODE_LABELS), source).count++;
      duration.observe({ source }, seconds);
      responseSize.observe(bytes);
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
          return void hits('positive').count++;
        case 'hit_negative':
          return void hits('negative').count++;
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
      upstreamDuration.observe({ upstream }, seconds);
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

  return {
    observer,
    async expose(accept) {
      const registry = accept?.includes('application/openmetrics-text') === true ? open : classic;
      return { contentType: registry.contentType, body: await registry.metrics() };
    },
  };
}

// The last INFO-CODE that IANA had assigned when this was written.
const HIGHEST_EDE = 30;
