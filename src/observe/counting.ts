// The Observer of the daemon. Counting adds to a number; the series for Prometheus are made at a scrape.

import { DURATION_BUCKETS, FrontCounts, SIZE_BUCKETS } from '../base/front-counts.js';
import type {
  CleartextReason,
  DnssecLimit,
  Dropped,
  Observer,
  RateLimited,
  ServerObserver,
  SharedRead,
  SharedWrite,
  Source,
  Transport,
  UpstreamState,
} from '../base/observer.js';
import { STREAM_DROPS } from '../base/observer.js';
import { Lately, LATELY_MINUTES } from '../base/lately.js';
import { type FailureCode, FAILURES, namesZones, RCODE } from '../base/outcome.js';
import type { LatelyOverview } from '../base/overview.js';
import type { WallMs } from '../base/time.js';
import {
  COUNTERS,
  HISTOGRAMS,
  HIT_KINDS,
  RCODE_LABELS,
  SOURCES,
  TRANSPORTS,
  TYPE_LABELS,
  VALIDATIONS,
} from './catalogue.js';
import { byKey, Counters, Distribution, type Family, keysOf, PREFIX, type Tally, within } from './families.js';
import { Servers } from './servers.js';

/** The parts that counting uses. */
export interface CountingParts {
  /** The mnemonic of an RR type; types without their own label value count as `other`. */
  readonly typeName: (type: number) => string;
  readonly rcodeName: (rcode: number) => string;
  readonly wallMs: () => WallMs;
}

/** A cause of error replies. */
export interface Cause {
  readonly code: FailureCode;
  readonly words: string;
  readonly count: number;
  readonly lastMs: WallMs;
}

/** RCODEs below this have a tally that is found by index. */
const INDEXED_RCODES = 24;
/** The highest INFO-CODE that IANA had assigned when this was written. */
const HIGHEST_EDE = 30;
/** Replies of front threads have no RCODE above this, which would need EDNS. */
const HEADER_RCODES = 16;

/** Counts everything. */
export class Counting implements Observer {
  readonly servers: Servers;
  /** Durations by the source of the reply. */
  readonly durations: Readonly<Record<Source, Distribution>>;
  private readonly counters: Readonly<Record<keyof typeof COUNTERS, Counters>>;
  private readonly requestSize = new Distribution(SIZE_BUCKETS);
  private readonly responseSize = new Distribution(SIZE_BUCKETS);
  private readonly validationDuration = new Distribution(DURATION_BUCKETS);
  // Tallies that every query needs, found by index, so that no text has to be made for a lookup.
  private readonly queries: Readonly<
    Record<Transport, { readonly four: readonly Tally[]; readonly six: readonly Tally[] }>
  >;
  private readonly responses: Readonly<Record<Source, readonly Tally[]>>;
  private readonly positiveHits: Tally;
  private readonly negativeHits: Tally;
  private readonly misses: Tally;
  private readonly evictions: Tally;
  private readonly sharedExchanges: Tally;
  private readonly lookups: Tally;
  /** Error replies by cause. */
  private readonly causes = new Map<FailureCode, Cause>();
  private readonly recent: Lately;

  constructor(private readonly parts: CountingParts) {
    this.servers = new Servers(parts.rcodeName);
    this.recent = new Lately(parts.wallMs);
    this.counters = byKey(keysOf(COUNTERS), key => new Counters(COUNTERS[key]));
    const { queries_total: queries, responses_total: responses } = this.counters;
    this.durations = byKey(SOURCES, () => new Distribution(DURATION_BUCKETS));
    const types = Array.from({ length: FrontCounts.otherType }, (_, type) => within(parts.typeName(type), TYPE_LABELS));
    const byType = (transport: Transport, family: 4 | 6): Tally[] => {
      // Most types are counted together.
      const tallies = new Map([...new Set(types)].map(type => [type, queries.at(transport, String(family), type)]));
      return types.map(type => tallies.get(type) ?? queries.at(transport, String(family), type));
    };
    this.queries = byKey(TRANSPORTS, transport => ({ four: byType(transport, 4), six: byType(transport, 6) }));
    this.responses = byKey(SOURCES, source =>
      Array.from({ length: INDEXED_RCODES }, (_, rcode) =>
        responses.at(within(parts.rcodeName(rcode), RCODE_LABELS), source),
      ),
    );
    this.positiveHits = this.counters.cache_hits_total.at('positive');
    this.negativeHits = this.counters.cache_hits_total.at('negative');
    this.misses = this.counters.cache_misses_total.at();
    this.evictions = this.counters.cache_evictions_total.at();
    this.sharedExchanges = this.counters.coalesced_queries_total.at();
    this.lookups = this.counters.dnssec_lookups_total.at();
  }

  query(transport: Transport, family: 4 | 6, type: number, bytes: number): void {
    this.queryTally(transport, family, type).count++;
    this.requestSize.observe(bytes);
  }

  response(rcode: number, source: Source, seconds: number, bytes: number): void {
    (this.responses[source][rcode] ?? this.counters.responses_total.at('other', source)).count++;
    this.durations[source].observe(seconds);
    this.responseSize.observe(bytes);
    const failed = rcode === RCODE.SERVFAIL;
    // Other errors are the client's own.
    if (source === 'upstream' || (source === 'error' && failed)) this.recent.reply(failed);
    if (source === 'upstream' && failed) this.recent.because('answered');
  }

  dropped(reason: Dropped): void {
    this.counters.dropped_total.at(reason).count++;
  }

  rateLimited(action: RateLimited): void {
    this.counters.rate_limited_total.at(action).count++;
    if (action === 'dropped') this.dropped('rate_limited');
  }

  unproven(): void {
    this.counters.unproven_total.at().count++;
  }

  failure(code: FailureCode, words: string): void {
    this.counters.failures_total.at(code).count++;
    if (code === 'not_allowed') this.counters.acl_refused_total.at().count++;
    if (FAILURES[code].rcode === RCODE.SERVFAIL) this.recent.because(code);
    this.causes.set(code, {
      code,
      // Names that clients asked for must not be on the status page.
      words: namesZones(code) ? FAILURES[code].words : words,
      count: (this.causes.get(code)?.count ?? 0) + 1,
      lastMs: this.parts.wallMs(),
    });
  }

  ede(infoCode: number): void {
    // Servers send INFO-CODEs, too: those without a name share a label value.
    this.counters.ede_total.at(infoCode <= HIGHEST_EDE ? String(infoCode) : 'other').count++;
  }

  listed(list: string, action: string): void {
    this.counters.list_answers_total.at(list, action).count++;
  }

  lists(names: readonly string[]): void {
    this.counters.list_answers_total.keep('list', names);
  }

  cache(event: Parameters<Observer['cache']>[0]): void {
    switch (event) {
      case 'hit_positive':
        this.positiveHits.count++;
        return;
      case 'hit_negative':
        this.negativeHits.count++;
        return;
      case 'hit_stale':
        this.counters.cache_hits_total.at('stale').count++;
        return;
      case 'hit_aggressive':
        this.counters.cache_hits_total.at('aggressive').count++;
        return;
      case 'hit_shared':
        this.counters.cache_hits_total.at('shared').count++;
        return;
      case 'prefetch_answered':
        this.counters.prefetch_total.at('answered').count++;
        return;
      case 'prefetch_failed':
        this.counters.prefetch_total.at('failed').count++;
        return;
      case 'miss':
        this.misses.count++;
        return;
      case 'eviction':
        this.evictions.count++;
    }
  }

  sharedRead(result: SharedRead): void {
    this.counters.shared_cache_reads_total.at(result).count++;
  }

  sharedWrite(result: SharedWrite): void {
    this.counters.shared_cache_writes_total.at(result).count++;
  }

  coalesced(): void {
    this.sharedExchanges.count++;
  }

  screened(): void {
    this.counters.rebinding_blocked_total.at().count++;
  }

  firewallSet(result: 'added' | 'failed', elements: number): void {
    this.counters.firewall_set_elements_total.at(result).count += elements;
  }

  firewallSetLate(): void {
    this.counters.firewall_set_late_replies_total.at().count++;
  }

  server(label: string): ServerObserver {
    return this.servers.observe(label);
  }

  upstreamTransition(from: UpstreamState, to: UpstreamState): void {
    this.counters.profile_transitions_total.at(from, to).count++;
  }

  replay(): void {
    this.counters.upstream_replays_total.at().count++;
  }

  hedge(): void {
    this.counters.upstream_hedges_total.at().count++;
  }

  cleartext(reason: CleartextReason): void {
    this.counters.cleartext_queries_total.at(reason).count++;
  }

  validation(result: (typeof VALIDATIONS)[number], seconds: number): void {
    this.counters.dnssec_validations_total.at(result).count++;
    this.validationDuration.observe(seconds);
  }

  dnssecLookup(): void {
    this.lookups.count++;
  }

  dnssecRetry(): void {
    this.counters.dnssec_retries_total.at().count++;
  }

  dnssecLimit(limit: DnssecLimit): void {
    this.counters.dnssec_limit_hits_total.at(limit).count++;
  }

  /** A frame of dnstap was lost. */
  dnstapLost(): void {
    this.counters.dnstap_dropped_total.at().count++;
  }

  /** An HTTP connection was closed for another one, or refused. */
  httpDropped(): void {
    this.counters.http_connections_dropped_total.at().count++;
  }

  /** Adds the counts of a front thread. */
  absorb(front: FrontCounts): void {
    for (const family of [4, 6] as const) {
      for (let type = 0; type <= FrontCounts.otherType; type++) {
        const count = front.queries(family, type);
        if (count > 0) this.queryTally(front.transport, family, type).count += count;
      }
    }
    this.responses.cache.forEach((tally, rcode) => (tally.count += rcode < HEADER_RCODES ? front.replies(rcode) : 0));
    this.counters.dropped_total.at('overload').count += front.drops;
    for (const reason of STREAM_DROPS) this.counters.dropped_total.at(reason).count += front.closes(reason);
    this.counters.dropped_total.at('socket_full').count += front.unsentReplies;
    this.counters.rate_limited_total.at('truncated').count += front.limits('truncated');
    this.counters.rate_limited_total.at('dropped').count += front.limits('dropped');
    this.counters.dropped_total.at('rate_limited').count += front.limits('dropped');
    this.counters.unproven_total.at().count += front.unproven;
    this.counters.dropped_total.at('not_allowed').count += front.foreigners;
    this.positiveHits.count += front.hits('positive');
    this.negativeHits.count += front.hits('negative');
    this.requestSize.merge(front.requestSizes);
    this.responseSize.merge(front.responseSizes);
    this.durations.cache.merge(front.durations);
  }

  /** Answers by their verdict. */
  validations(): Readonly<Record<(typeof VALIDATIONS)[number], number>> {
    return byKey(VALIDATIONS, result => this.counters.dnssec_validations_total.at(result).count);
  }

  /** Answers from cache by their kind, and answers that were refreshed before they expired. */
  hits(): Readonly<Record<(typeof HIT_KINDS)[number] | 'refreshed', number>> {
    const { cache_hits_total: hits, prefetch_total: refreshed } = this.counters;
    return { ...byKey(HIT_KINDS, kind => hits.at(kind).count), refreshed: refreshed.at('answered').count };
  }

  /** The questions of the last minutes. */
  get lately(): LatelyOverview {
    const { questions, failed, cause } = this.recent.sums;
    const words = cause === 'answered' ? 'a server answered SERVFAIL' : cause && this.causes.get(cause)?.words;
    return { minutes: LATELY_MINUTES, questions, failed, cause: words };
  }

  /** Causes of error replies, the latest first. */
  latestCauses(): readonly Cause[] {
    return [...this.causes.values()].sort((a, b) => b.lastMs - a.lastMs);
  }

  families(): Family[] {
    const counters = keysOf(COUNTERS).map((key): Family => ({
      type: 'counter',
      name: `${PREFIX}${key}`,
      help: COUNTERS[key].help,
      labelNames: Object.keys(COUNTERS[key].labels),
      samples: () => this.counters[key].samples(),
    }));
    const distributions: Readonly<Record<keyof typeof HISTOGRAMS, ReturnType<HistogramFamily['samples']>>> = {
      request_size_bytes: [{ labels: {}, distribution: this.requestSize }],
      response_size_bytes: [{ labels: {}, distribution: this.responseSize }],
      request_duration_seconds: SOURCES.map(source => ({ labels: { source }, distribution: this.durations[source] })),
      dnssec_validation_duration_seconds: [{ labels: {}, distribution: this.validationDuration }],
    };
    const histograms = keysOf(HISTOGRAMS).map((key): Family => ({
      type: 'histogram',
      name: `${PREFIX}${key}`,
      help: HISTOGRAMS[key].help,
      labelNames: Object.keys(HISTOGRAMS[key].labels),
      bounds: HISTOGRAMS[key].bounds,
      samples: () => distributions[key],
    }));
    return [...counters, ...this.servers.families(), ...histograms];
  }

  private queryTally(transport: Transport, family: 4 | 6, type: number): Tally {
    const { four, six } = this.queries[transport];
    return (family === 4 ? four : six)[type] ?? this.counters.queries_total.at(transport, String(family), 'other');
  }
}

type HistogramFamily = Extract<Family, { type: 'histogram' }>;
