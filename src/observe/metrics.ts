// What is counted, and under which names and labels it is shown. Every label value is from a closed set, and every series
// that can be foreseen exists at 0 from the start, so that rate() works. Counting is adding to a number; what Prometheus
// makes of the numbers is worked out when somebody scrapes (exposition.ts).

import { bucketOf, type CountedHistogram, DURATION_BUCKETS, FrontCounts, SIZE_BUCKETS } from '../base/front-counts.js';
import { type FailureCode, FAILURES, isDnssecFailure } from '../base/outcome.js';
import type {
  CleartextReason,
  ClosedBy,
  DnssecLimit,
  Observer,
  Source,
  Transport,
  UpstreamError,
  UpstreamProtocol,
  UpstreamState,
} from '../base/observer.js';
import type { Exposition } from './exposition.js';
import { type Distribution, families, type Labels, type Tally } from './families.js';

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
  /** Queries that wait for an answer. */
  readonly inflight?: () => number;
  /** The keys of trust points, read at each scrape. */
  readonly trustAnchors: () => readonly { readonly tag: number; readonly state: string }[];
  /** What the front threads have counted since the last scrape. */
  readonly fronts: () => readonly FrontCounts[];
  /** The addresses of servers, read at each scrape. */
  readonly endpoints: () => readonly EndpointFacts[];
  /** Whether somebody keeps the machine's clock right; undefined: nobody says. */
  readonly clockIsSet: () => boolean | undefined;
  readonly wallMs: () => number;
}

/** How one address of a server is doing. */
export interface EndpointFacts {
  readonly upstream: string;
  /** `looking`: the address is not known. */
  readonly state: UpstreamState | 'looking';
  readonly idleLimitMs: number | undefined;
  readonly certificateEndsMs: number | undefined;
}

/** Sums since the start, for those who look at the whole. */
export interface Glance {
  /** Replies, by where they came from. */
  readonly replies: Readonly<Record<Source, number>>;
  /** Replies by the bucket of DURATION_BUCKETS that the time they took falls into; the last is for all above. */
  readonly durations: readonly number[];
  /** Queries that we sent over TLS, and in cleartext. */
  readonly encrypted: number;
  readonly cleartext: number;
  readonly validations: Readonly<Record<string, number>>;
  /** TLS connections by server: how many, and how many of them resumed a session. */
  readonly connects: readonly { readonly upstream: string; readonly made: number; readonly resumed: number }[];
  /** Error replies by cause, the latest first. */
  readonly causes: readonly {
    readonly code: FailureCode;
    readonly words: string;
    readonly count: number;
    readonly lastMs: number;
  }[];
}

/** The metrics. */
export interface Metrics {
  readonly observer: Observer;
  /** A configuration file was read again, and taken over or not. */
  reloaded(taken: boolean): void;
  /** The mode in force. */
  modeIs(mode: (typeof MODES)[number]): void;
  glance(): Glance;
  /** A frame of dnstap was lost. */
  dnstapLost(): void;
  /** The exposition text for an Accept header, and its content type. */
  expose(accept: string | undefined): Promise<{ readonly contentType: string; readonly body: string }>;
}

const TRANSPORTS: readonly Transport[] = ['udp', 'tcp', 'tls'];
const FAMILIES = [4, 6] as const;
const SOURCES: readonly Source[] = ['cache', 'upstream', 'local', 'error'];
const CLEARTEXT: readonly CleartextReason[] = ['bootstrap', 'opportunistic', 'off', 'portal', 'conditional', 'probe'];
const CLOSED_BY: readonly ClosedBy[] = ['server', 'client_idle', 'error', 'drain', 'silent'];
const PROTOCOLS: readonly UpstreamProtocol[] = ['dot', 'udp', 'tcp'];
const DROPPED = ['short', 'response', 'source_port', 'connections', 'slow_client', 'overload'] as const;
const HIT_KINDS = ['positive', 'negative'] as const;
const UPSTREAM_ERRORS: readonly UpstreamError[] = [
  'bootstrap',
  'connect',
  'connect_timeout',
  'tls_verify',
  'tls_alert',
  'closed',
  'timeout',
  'slow',
  'parse',
  'id_mismatch',
  'question_mismatch',
];
const VALIDATIONS = ['secure', 'insecure', 'bogus', 'indeterminate'];
const DNSSEC_LIMITS: readonly DnssecLimit[] = [
  'signatures',
  'lookups',
  'nsec3_hashes',
  'dnskeys',
  'key_tags',
  'ds',
  'aliases',
];
const ANCHOR_STATES = ['pending', 'valid', 'missing', 'revoked', 'removed'];
const MODES = ['off', 'opportunistic', 'encrypted', 'strict'] as const;
const STATES: readonly EndpointFacts['state'][] = ['looking', 'probing', 'private', 'suspect', 'failed'];
const TRANSITIONS = STATES.slice(1).flatMap(from =>
  STATES.slice(1)
    .filter(to => to !== from)
    .map(to => ({ from, to })),
);
const DNSSEC_STATES = ['ok', 'strips', 'unknown'] as const;
const TYPE_LABELS = [
  'A',
  'AAAA',
  'HTTPS',
  'PTR',
  'CNAME',
  'MX',
  'NS',
  'SOA',
  'SRV',
  'TXT',
  'SVCB',
  'DS',
  'DNSKEY',
  'TLSA',
  'ANY',
  'other',
];
const RCODE_LABELS = ['NOERROR', 'FORMERR', 'SERVFAIL', 'NXDOMAIN', 'NOTIMP', 'REFUSED', 'BADVERS', 'other'];

/** Makes the metrics. */
export function metrics(parts: MetricsParts): Metrics {
  const { all, counters, gauges, read, readAll, histogram } = families();
  const single = (name: string, help: string): Tally => counters(name, help, [], [{}])();
  const each = (label: string, values: readonly string[]): Labels[] => values.map(value => ({ [label]: value }));
  const cross = (a: readonly Labels[], b: readonly Labels[]): Labels[] => a.flatMap(x => b.map(y => ({ ...x, ...y })));
  const ofUpstreams = each('upstream', parts.upstreams);
  const within = (label: string, labels: readonly string[]): string => (labels.includes(label) ? label : 'other');

  gauges(
    'build_info',
    'The running program; always 1.',
    ['version', 'node', 'openssl'],
    [],
  )(parts.version, process.versions.node, process.versions.openssl).count = 1;

  // Clients.
  const queries = counters(
    'queries_total',
    'Queries from clients.',
    ['proto', 'family', 'type'],
    cross(cross(each('proto', TRANSPORTS), each('family', FAMILIES.map(String))), each('type', TYPE_LABELS)),
  );
  const responses = counters(
    'responses_total',
    'Replies to clients.',
    ['rcode', 'source'],
    cross(each('rcode', RCODE_LABELS), each('source', SOURCES)),
  );
  const dropped = counters(
    'dropped_total',
    'Messages and connections that got no reply.',
    ['reason'],
    each('reason', DROPPED),
  );
  const failures = counters(
    'failures_total',
    'Error replies, by cause.',
    ['reason'],
    each('reason', Object.keys(FAILURES)),
  );
  const refused = single('acl_refused_total', 'Queries from addresses outside access.allow.');
  const ede = counters('ede_total', 'Extended DNS Errors in replies.', ['code'], []);
  const coalesced = single('coalesced_queries_total', 'Queries that shared the upstream exchange of another.');
  const requestSize = histogram('request_size_bytes', 'Size of queries.', [], SIZE_BUCKETS)({});
  const responseSize = histogram('response_size_bytes', 'Size of replies.', [], SIZE_BUCKETS)({});
  const durations = histogram('request_duration_seconds', 'From query to reply.', ['source'], DURATION_BUCKETS);
  const duration = byKey(SOURCES, source => durations({ source }));
  read('inflight_queries', 'Queries that wait for an answer.', () => parts.inflight?.() ?? 0);
  const clientConnections = gauges(
    'client_connections',
    'Open connections of clients.',
    ['proto'],
    each('proto', ['tcp', 'tls']),
  );

  // Cache.
  const hits = counters('cache_hits_total', 'Answers from cache.', ['kind'], each('kind', HIT_KINDS));
  const positiveHits = hits('positive');
  const negativeHits = hits('negative');
  const misses = single('cache_misses_total', 'Queries that the cache could not answer.');
  const evictions = single('cache_evictions_total', 'Entries that left to make room.');
  read('cache_entries', 'Answers in the cache.', () => parts.cache().entries);
  read('cache_bytes', 'Memory that they are counted with.', () => parts.cache().bytes);

  // Upstream.
  const upstreamQueries = counters(
    'upstream_queries_total',
    'Queries sent to servers.',
    ['upstream', 'proto'],
    cross(ofUpstreams, each('proto', PROTOCOLS)),
  );
  const upstreamResponses = counters(
    'upstream_responses_total',
    'Responses from servers.',
    ['upstream', 'rcode'],
    cross(ofUpstreams, each('rcode', RCODE_LABELS)),
  );
  const upstreamErrors = counters(
    'upstream_errors_total',
    'What went wrong with servers.',
    ['upstream', 'reason'],
    cross(ofUpstreams, each('reason', UPSTREAM_ERRORS)),
  );
  const upstreamConnects = counters(
    'upstream_connects_total',
    'TLS connections made.',
    ['upstream', 'resumed'],
    cross(ofUpstreams, each('resumed', ['true', 'false'])),
  );
  const upstreamCloses = counters(
    'upstream_connection_closes_total',
    'Connections closed, by whom.',
    ['upstream', 'by'],
    cross(ofUpstreams, each('by', CLOSED_BY)),
  );
  const upstreamDurations = histogram(
    'upstream_request_duration_seconds',
    'From query to response.',
    ['upstream'],
    DURATION_BUCKETS,
  );
  const handshakes = histogram(
    'upstream_handshake_duration_seconds',
    'TCP and TLS handshake.',
    ['upstream'],
    DURATION_BUCKETS,
  );
  const handshake = new Map(parts.upstreams.map(upstream => [upstream, handshakes({ upstream })]));
  const upstreamConnections = gauges('upstream_connections', 'Open connections to servers.', ['upstream'], ofUpstreams);
  const upstreamUp = gauges('upstream_up', '1 where the last TLS handshake succeeded.', ['upstream'], ofUpstreams);
  const upstreamAuthenticated = gauges(
    'upstream_authenticated',
    '1 where the server proved its name.',
    ['upstream'],
    ofUpstreams,
  );
  readAll(
    'upstream_state',
    'Addresses of a server by what is known about reaching them over TLS.',
    ['upstream', 'state'],
    () =>
      byUpstream().flatMap(([upstream, facts]) =>
        STATES.map(state => ({
          labels: { upstream, state },
          value: facts.filter(each => each.state === state).length,
        })),
      ),
  );
  readAll(
    'upstream_idle_limit_seconds',
    'How long connections to a server may be idle, as learned from it.',
    ['upstream'],
    () =>
      byUpstream().flatMap(([upstream, facts]) =>
        least(
          upstream,
          facts.map(each => each.idleLimitMs),
        ),
      ),
  );
  readAll(
    'upstream_cert_expiry_timestamp_seconds',
    'When the certificate that a server showed expires.',
    ['upstream'],
    () =>
      byUpstream().flatMap(([upstream, facts]) =>
        least(
          upstream,
          facts.map(each => each.certificateEndsMs),
        ),
      ),
  );
  const transitions = counters(
    'profile_transitions_total',
    'Changes in what is known about reaching addresses over TLS.',
    ['from', 'to'],
    TRANSITIONS,
  );
  const probes = counters(
    'probes_total',
    'Whether servers could be used over TLS, as opportunistic mode found out.',
    ['upstream', 'result'],
    cross(ofUpstreams, each('result', ['ok', 'failed'])),
  );
  const modes = gauges('upstream_mode', 'The mode in force; 1 for that one.', ['mode'], each('mode', MODES));
  const replays = single('upstream_replays_total', 'Queries asked again because a connection closed.');
  const hedges = single('upstream_hedges_total', 'Queries asked again because a connection went silent.');
  const cleartext = counters(
    'cleartext_queries_total',
    'Queries that left unencrypted.',
    ['reason'],
    each('reason', CLEARTEXT),
  );

  // Validation.
  const validations = counters(
    'dnssec_validations_total',
    'Answers by what validation found.',
    ['result'],
    each('result', VALIDATIONS),
  );
  const validationDuration = histogram(
    'dnssec_validation_duration_seconds',
    'From question to verdict, waiting included.',
    [],
    DURATION_BUCKETS,
  )({});
  const dnssecLookups = single(
    'dnssec_lookups_total',
    'DS and DNSKEY sets asked for, beside the questions of clients.',
  );
  const dnssecRetries = single('dnssec_retries_total', 'Bogus answers that were asked for again at another server.');
  const dnssecLimits = counters(
    'dnssec_limit_hits_total',
    'Limits of validation that were met.',
    ['limit'],
    each('limit', DNSSEC_LIMITS),
  );
  readAll(
    'trust_anchor_state',
    'Keys of trust points; 1 for the state that each is in (RFC 5011).',
    ['key_tag', 'state'],
    () =>
      parts
        .trustAnchors()
        .flatMap(({ tag, state }) =>
          ANCHOR_STATES.map(each => ({ labels: { key_tag: String(tag), state: each }, value: each === state ? 1 : 0 })),
        ),
  );
  const upstreamDnssec = gauges(
    'upstream_dnssec',
    'Whether a server passes DNSSEC signatures on; 1 for what was found.',
    ['upstream', 'state'],
    cross(ofUpstreams, each('state', DNSSEC_STATES)),
  );
  for (const upstream of parts.upstreams) upstreamDnssec(upstream, 'unknown').count = 1;

  // The daemon itself.
  const dnstapLost = single('dnstap_dropped_total', 'Frames that nobody took, or not quickly enough.');
  const reloadTaken = gauges(
    'config_last_reload_successful',
    '1 where the configuration file was taken over when it was last read.',
    [],
    [{}],
  )();
  const reloadAt = gauges(
    'config_last_reload_timestamp_seconds',
    'When a configuration was last taken over.',
    [],
    [{}],
  )();
  reloadTaken.count = 1;
  reloadAt.count = parts.wallMs() / 1000;
  read('clock_synchronized', '0 where the system says that nobody keeps its clock right.', () =>
    parts.clockIsSet() === false ? 0 : 1,
  );

  // For the glance.
  let encryptedQueries = 0;
  let cleartextQueries = 0;
  const causes = new Map<FailureCode, { words: string; count: number; lastMs: number }>();

  function byUpstream(): [string, readonly EndpointFacts[]][] {
    const endpoints = parts.endpoints();
    return [...new Set([...parts.upstreams, ...endpoints.map(({ upstream }) => upstream)])].map(name => [
      name,
      endpoints.filter(({ upstream }) => upstream === name),
    ]);
  }

  // Looked up once, not per query: a table by protocol and RCODE for each server,
  const ofUpstream = new Map(
    parts.upstreams.map(upstream => [
      upstream,
      {
        queries: byKey(PROTOCOLS, protocol => upstreamQueries(upstream, protocol)),
        responses: Array.from({ length: 24 }, (_, rcode) =>
          upstreamResponses(upstream, within(parts.rcodeName(rcode), RCODE_LABELS)),
        ),
        duration: upstreamDurations({ upstream }),
      },
    ]),
  );
  // by RCODE for each source, and by type for each way in.
  const responseTally = byKey(SOURCES, source =>
    Array.from({ length: 24 }, (_, rcode) => responses(within(parts.rcodeName(rcode), RCODE_LABELS), source)),
  );
  const queryTallies = byKey(TRANSPORTS, transport => ({ 4: tallyByType(transport, 4), 6: tallyByType(transport, 6) }));
  function tallyByType(transport: Transport, family: 4 | 6): Tally[] {
    return Array.from({ length: FrontCounts.otherType }, (_, type) =>
      queries(transport, String(family), within(parts.typeName(type), TYPE_LABELS)),
    );
  }
  const queryTally = (transport: Transport, family: 4 | 6, type: number): Tally =>
    queryTallies[transport][family][type] ?? queries(transport, String(family), 'other');

  const observer: Observer = {
    query(transport, family, type, bytes) {
      queryTally(transport, family, type).count++;
      observe(requestSize, bytes);
    },
    response(rcode, source, seconds, bytes) {
      (responseTally[source][rcode] ?? responses('other', source)).count++;
      observe(duration[source], seconds);
      observe(responseSize, bytes);
    },
    dropped: reason => void dropped(reason).count++,
    failure(code, words) {
      failures(code).count++;
      // What does not validate names the zones that somebody asked for: nobody's business here.
      const shown = isDnssecFailure(code) ? FAILURES[code].words : words;
      causes.set(code, { words: shown, count: (causes.get(code)?.count ?? 0) + 1, lastMs: parts.wallMs() });
      if (code === 'not_allowed') refused.count++;
    },
    // INFO-CODEs come from servers too: those without a name share a label.
    ede: infoCode => void ede(infoCode <= HIGHEST_EDE ? String(infoCode) : 'other').count++,
    inflight: () => undefined,
    clientConnections: (proto, delta) => void (clientConnections(proto).count += delta),
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
    server: label => ({
      query: protocol => observer.upstreamQuery(label, protocol),
      response: (rcode, seconds) => observer.upstreamResponse(label, rcode, seconds),
      error: code => observer.upstreamError(label, code),
      connect: (resumed, seconds) => observer.upstreamConnect(label, resumed, seconds, undefined),
      close: by => observer.upstreamClose(label, by),
      probe: result => observer.probe(label, result),
      end: () => undefined,
    }),
    upstreamQuery(upstream, protocol) {
      if (protocol === 'dot') encryptedQueries++;
      else cleartextQueries++;
      (ofUpstream.get(upstream)?.queries[protocol] ?? upstreamQueries(upstream, protocol)).count++;
    },
    upstreamResponse(upstream, rcode, seconds) {
      const known = ofUpstream.get(upstream);
      (known?.responses[rcode] ?? upstreamResponses(upstream, within(parts.rcodeName(rcode), RCODE_LABELS))).count++;
      observe(known?.duration, seconds);
    },
    upstreamError: (upstream, code) => void upstreamErrors(upstream, code).count++,
    upstreamConnect(upstream, resumed, handshakeSeconds) {
      upstreamConnects(upstream, String(resumed)).count++;
      observe(handshake.get(upstream), handshakeSeconds);
    },
    upstreamConnections: (upstream, delta) => void (upstreamConnections(upstream).count += delta),
    upstreamClose: (upstream, by) => void upstreamCloses(upstream, by).count++,
    upstreamState(upstream, up, authenticated) {
      upstreamUp(upstream).count = up ? 1 : 0;
      upstreamAuthenticated(upstream).count = authenticated ? 1 : 0;
    },
    upstreamTransition: (from, to) => void transitions(from, to).count++,
    probe: (upstream, result) => void probes(upstream, result).count++,
    replay: () => void replays.count++,
    hedge: () => void hedges.count++,
    cleartext: reason => void cleartext(reason).count++,
    validation(result, seconds) {
      validations(result).count++;
      observe(validationDuration, seconds);
    },
    dnssecLookup: () => void dnssecLookups.count++,
    dnssecRetry: () => void dnssecRetries.count++,
    upstreamDnssec(upstream, found) {
      for (const state of DNSSEC_STATES) upstreamDnssec(upstream, state).count = state === found ? 1 : 0;
    },
    dnssecLimit: limit => void dnssecLimits(limit).count++,
  };

  function absorb(front: FrontCounts): void {
    for (const family of [4, 6] as const) {
      for (let type = 0; type <= FrontCounts.otherType; type++) {
        const count = front.queries(family, type);
        if (count > 0) queryTally('udp', family, type).count += count;
      }
    }
    responseTally.cache.forEach((tally, rcode) => (tally.count += rcode < 16 ? front.replies(rcode) : 0));
    dropped('overload').count += front.drops;
    positiveHits.count += front.hits('positive');
    negativeHits.count += front.hits('negative');
    merge(requestSize, front.requestSizes);
    merge(responseSize, front.responseSizes);
    merge(duration.cache, front.durations);
  }

  let text: Promise<Exposition> | undefined;
  return {
    observer,
    modeIs(mode) {
      for (const each of MODES) modes(each).count = each === mode ? 1 : 0;
    },
    dnstapLost: () => void dnstapLost.count++,
    reloaded(taken) {
      reloadTaken.count = taken ? 1 : 0;
      if (taken) reloadAt.count = parts.wallMs() / 1000;
    },
    glance() {
      parts.fronts().forEach(absorb);
      const connects = [...new Set(parts.endpoints().map(({ upstream }) => upstream))].map(upstream => {
        const resumed = upstreamConnects(upstream, 'true').count;
        return { upstream, made: resumed + upstreamConnects(upstream, 'false').count, resumed };
      });
      return {
        replies: byKey(SOURCES, source => duration[source].counts.reduce((sum, count) => sum + count, 0)),
        durations: [...DURATION_BUCKETS, Infinity].map((_, bucket) =>
          SOURCES.reduce((sum, source) => sum + (duration[source].counts[bucket] ?? 0), 0),
        ),
        encrypted: encryptedQueries,
        cleartext: cleartextQueries,
        validations: byKey(VALIDATIONS, result => validations(result).count),
        connects,
        causes: [...causes].map(([code, cause]) => ({ code, ...cause })).sort((a, b) => b.lastMs - a.lastMs),
      };
    },
    async expose(accept) {
      parts.fronts().forEach(absorb);
      // Loaded by the first scrape: it takes a good part of the time that all the rest takes to start.
      text ??= import('./exposition.js').then(({ exposition }) => exposition(all));
      return (await text)(accept);
    },
  };
}

/** The smallest of what is known, in seconds, as the sample of a server. */
function least(
  upstream: string,
  values: readonly (number | undefined)[],
): { readonly labels: Labels; readonly value: number }[] {
  const known = values.filter(value => value !== undefined);
  return known.length === 0 ? [] : [{ labels: { upstream }, value: Math.min(...known) / 1000 }];
}

/** Adds one observation. */
function observe(distribution: Distribution | undefined, value: number): void {
  if (distribution === undefined) return;
  const bucket = bucketOf(distribution.bounds, value);
  distribution.counts[bucket] = (distribution.counts[bucket] ?? 0) + 1;
  distribution.sum += value;
}

/** Adds what was counted elsewhere with the same buckets. */
function merge(distribution: Distribution, { counts, sum }: CountedHistogram): void {
  counts.forEach((count, bucket) => (distribution.counts[bucket] = (distribution.counts[bucket] ?? 0) + count));
  distribution.sum += sum;
}

/** A record with a value for each key. */
function byKey<K extends string, V>(keys: readonly K[], value: (key: K) => V): Record<K, V> {
  // Object.fromEntries forgets which keys there are.
  return Object.fromEntries(keys.map(key => [key, value(key)])) as Record<K, V>;
}

// The last INFO-CODE that IANA had assigned when this was written.
const HIGHEST_EDE = 30;
