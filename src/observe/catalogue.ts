// The catalogue of metrics, one row each: the name without `dotstub_`, the help text, the labels with their values, the
// buckets.

import { DURATION_BUCKETS, SIZE_BUCKETS } from '../base/front-counts.js';
import type {
  CleartextReason,
  ClosedBy,
  DnssecLimit,
  Dropped,
  RateLimited,
  SharedRead,
  SharedWrite,
  Source,
  Transport,
  UpstreamError,
  UpstreamProtocol,
  UpstreamState,
} from '../base/observer.js';
import { FAILURES } from '../base/outcome.js';
import { TLS_GROUPS } from '../base/tls-groups.js';
import {
  type AddressOverview,
  FINDINGS,
  MODES,
  type Purpose,
  type ServerOverview,
  type UpstreamTransport,
} from '../base/overview.js';

/** Label values by label name. */
export type Labels = Readonly<Record<string, string>>;

/** A metric. If all label values are listed, its series exist at 0 from the start, so that rate() works. */
export interface MetricRow {
  readonly help: string;
  readonly labels: Readonly<Record<string, readonly string[]>>;
  /** Combinations of values that are impossible. */
  readonly never?: (labels: Labels) => boolean;
}

/** A histogram. */
export interface HistogramRow extends MetricRow {
  readonly bounds: readonly number[];
}

/** For labels whose values are only known at run time. */
const OPEN: readonly string[] = [];

export const TRANSPORTS: readonly Transport[] = ['udp', 'tcp', 'tls', 'https'];
export const SOURCES: readonly Source[] = ['cache', 'upstream', 'local', 'error'];
export const PROTOCOLS: readonly UpstreamProtocol[] = ['dot', 'https', 'udp', 'tcp'];
export const VALIDATIONS = ['secure', 'insecure', 'bogus', 'indeterminate'] as const;
export const HIT_KINDS = ['positive', 'negative', 'stale', 'aggressive', 'shared'] as const;
export const DNSSEC_STATES: readonly ServerOverview['dnssec'][] = ['ok', 'strips', 'unknown'];
export const PURPOSES: readonly Purpose[] = ['main', 'route', 'portal'];
export const ANCHOR_STATES = ['pending', 'valid', 'missing', 'revoked', 'removed'] as const;
/** Types and RCODEs that have their own label value. */
export const TYPE_LABELS = 'A AAAA HTTPS PTR CNAME MX NS SOA SRV TXT SVCB DS DNSKEY TLSA ANY other'.split(' ');
export const RCODE_LABELS = 'NOERROR FORMERR SERVFAIL NXDOMAIN NOTIMP REFUSED BADVERS other'.split(' ');

const CLEARTEXT: readonly CleartextReason[] = ['bootstrap', 'opportunistic', 'off', 'portal', 'conditional', 'probe'];
const DROPPED: readonly Dropped[] = [
  'short',
  'response',
  'source_port',
  'connections',
  'displaced',
  'not_allowed',
  'proxy_header',
  'rate_limited',
  'slow_client',
  'http_flood',
  'overload',
  'socket_full',
  'list',
];
const RATE_LIMITED: readonly RateLimited[] = ['dropped', 'truncated', 'refused'];
const CLOSED_BY: readonly ClosedBy[] = ['server', 'client_idle', 'error', 'drain', 'silent'];
const DNSSEC_LIMITS: readonly DnssecLimit[] = ['signatures', 'lookups', 'nsec3_hashes', 'dnskeys', 'key_tags', 'ds'];
const SHARED_READS: readonly SharedRead[] = ['hit', 'miss', 'unusable', 'timeout', 'refused', 'skipped'];
const SHARED_WRITES: readonly SharedWrite[] = ['stored', 'refused', 'skipped'];
/** Errors that every server may have; the series of others begin when they occur. */
const UPSTREAM_ERRORS: readonly UpstreamError[] = [
  'bootstrap',
  'connect',
  'connect_timeout',
  'tls_verify',
  'tls_alert',
  'closed',
  'timeout',
  'slow',
  'http',
  'parse',
  'id_mismatch',
  'question_mismatch',
];
export const UPSTREAM_TRANSPORTS: readonly UpstreamTransport[] = ['dot', 'https', 'cleartext', 'none'];
const TLS_STATES: readonly UpstreamState[] = ['probing', 'private', 'suspect', 'failed'];
export const ADDRESS_STATES: readonly AddressOverview['state'][] = ['looking', ...TLS_STATES];

/** Counters of the whole daemon. */
export const COUNTERS = {
  queries_total: {
    help: 'Queries from clients.',
    labels: { proto: TRANSPORTS, family: ['4', '6'], type: TYPE_LABELS },
  },
  responses_total: { help: 'Replies to clients.', labels: { rcode: RCODE_LABELS, source: SOURCES } },
  dropped_total: {
    help: 'Messages and connections that got no reply.',
    labels: { reason: DROPPED },
  },
  failures_total: { help: 'Error replies, by cause.', labels: { reason: Object.keys(FAILURES) } },
  acl_refused_total: { help: 'Queries from addresses outside access.allow.', labels: {} },
  rate_limited_total: {
    help: 'Queries over access.rate_limit, by what became of them.',
    labels: { action: RATE_LIMITED },
  },
  unproven_total: {
    help: 'Queries over UDP without a DNS cookie from networks of access.require_cookie, which got TC.',
    labels: {},
  },
  ede_total: { help: 'Extended DNS Errors in replies.', labels: { code: OPEN } },
  list_answers_total: {
    help: 'Queries that a list decided, by list and what it does.',
    labels: { list: OPEN, action: OPEN },
  },
  coalesced_queries_total: { help: 'Queries that shared the upstream exchange of another.', labels: {} },
  rebinding_blocked_total: { help: 'Answers about public names that had private addresses.', labels: {} },
  firewall_set_elements_total: {
    help: 'Addresses for sets of the firewall (firewall_sets).',
    labels: { result: ['added', 'failed'] },
  },
  firewall_set_late_replies_total: { help: 'Replies that left before their addresses were in the sets.', labels: {} },
  cache_hits_total: { help: 'Answers from cache.', labels: { kind: HIT_KINDS } },
  cache_misses_total: { help: 'Queries that the cache could not answer.', labels: {} },
  prefetch_total: {
    help: 'Refreshes of answers before they expired.',
    labels: { result: ['answered', 'failed'] },
  },
  cache_evictions_total: { help: 'Entries that were removed to make room.', labels: {} },
  shared_cache_reads_total: {
    help: 'Questions to the store of cache.shared. unusable: not authentic, or expired; skipped: it is off, or has too much to do.',
    labels: { result: SHARED_READS },
  },
  shared_cache_writes_total: { help: 'Answers for the store of cache.shared.', labels: { result: SHARED_WRITES } },
  profile_transitions_total: {
    help: 'Changes in what is known about reaching addresses over TLS.',
    labels: { from: TLS_STATES, to: TLS_STATES },
    never: ({ from, to }) => from === to,
  },
  upstream_replays_total: { help: 'Queries asked again because a connection closed.', labels: {} },
  upstream_hedges_total: { help: 'Queries asked again because a connection went silent.', labels: {} },
  cleartext_queries_total: { help: 'Queries that left unencrypted.', labels: { reason: CLEARTEXT } },
  dnssec_validations_total: { help: 'Answers by what validation found.', labels: { result: VALIDATIONS } },
  dnssec_lookups_total: { help: 'DS and DNSKEY sets asked for, beside the questions of clients.', labels: {} },
  dnssec_retries_total: { help: 'Bogus answers that were asked for again at another server.', labels: {} },
  dnssec_limit_hits_total: { help: 'Limits of validation that were met.', labels: { limit: DNSSEC_LIMITS } },
  http_connections_dropped_total: {
    help: 'HTTP connections that were closed for others, or refused: too many, or too fast.',
    labels: {},
  },
  dnstap_dropped_total: { help: 'Frames of dnstap that were lost: no listener, or a slow one.', labels: {} },
} as const satisfies Record<string, MetricRow>;

/** Histograms of the whole daemon. */
export const HISTOGRAMS = {
  request_size_bytes: { help: 'Size of queries.', labels: {}, bounds: SIZE_BUCKETS },
  response_size_bytes: { help: 'Size of replies.', labels: {}, bounds: SIZE_BUCKETS },
  request_duration_seconds: { help: 'From query to reply.', labels: { source: SOURCES }, bounds: DURATION_BUCKETS },
  dnssec_validation_duration_seconds: {
    help: 'From question to verdict, waiting included.',
    labels: {},
    bounds: DURATION_BUCKETS,
  },
} as const satisfies Record<string, HistogramRow>;

/** Counters of each server; the label `upstream` comes before theirs. */
export const SERVER_COUNTERS = {
  upstream_queries_total: { help: 'Queries sent to servers.', labels: { proto: PROTOCOLS } },
  upstream_responses_total: { help: 'Responses from servers.', labels: { rcode: RCODE_LABELS } },
  upstream_errors_total: { help: 'What went wrong with servers.', labels: { reason: UPSTREAM_ERRORS } },
  upstream_connects_total: { help: 'TLS connections made.', labels: { resumed: ['true', 'false'] } },
  upstream_connection_closes_total: { help: 'Connections closed, by whom.', labels: { by: CLOSED_BY } },
  probes_total: {
    help: 'Whether servers could be used over TLS, as opportunistic mode found out.',
    labels: { result: ['ok', 'failed'] },
  },
} as const satisfies Record<string, MetricRow>;

/** Histograms of each server. */
export const SERVER_HISTOGRAMS = {
  upstream_request_duration_seconds: { help: 'From query to response.', labels: {}, bounds: DURATION_BUCKETS },
  upstream_handshake_duration_seconds: { help: 'TCP and TLS handshake.', labels: {}, bounds: DURATION_BUCKETS },
} as const satisfies Record<string, HistogramRow>;

/** Gauges; all are read from the overview at each scrape. */
export const GAUGES = {
  build_info: { help: 'The running program; always 1.', labels: { version: OPEN, node: OPEN, openssl: OPEN } },
  inflight_queries: { help: 'Queries that wait for an answer.', labels: {} },
  client_connections: { help: 'Open connections of clients.', labels: { proto: ['tcp', 'tls', 'https'] } },
  cache_entries: { help: 'Answers in the cache.', labels: {} },
  cache_bytes: { help: 'Memory that they are counted with.', labels: {} },
  shared_cache_up: { help: '1 where the store of cache.shared is in use; 0: it is not, or there is none.', labels: {} },
  local_names: { help: 'Names that are answered here; those of PTR records are not counted.', labels: {} },
  local_file_names: { help: 'Names that a hosts file or a file of leases gives addresses.', labels: { file: OPEN } },
  local_file_readable: { help: '0 where such a file cannot be read.', labels: { file: OPEN } },
  local_file_problems: { help: 'Lines of such a file that cannot be used.', labels: { file: OPEN } },
  local_file_read_timestamp_seconds: { help: 'When its contents that count were read.', labels: { file: OPEN } },
  listener_certificate_expiry_timestamp_seconds: {
    help: 'When the certificate that a listener shows expires.',
    labels: { listener: ['tls', 'https'] },
  },
  upstream_connections: { help: 'Open connections to servers.', labels: { upstream: OPEN } },
  upstream_up: {
    help: '1 where the server can be asked now in a way that the mode allows: over TLS, or in cleartext where the mode goes there.',
    labels: { upstream: OPEN },
  },
  upstream_authenticated: { help: '1 where the server proved its name.', labels: { upstream: OPEN } },
  upstream_purpose: {
    help: 'What a server is asked for; 1 for each purpose that it has: upstream.servers, routes, or a portal window.',
    labels: { upstream: OPEN, purpose: PURPOSES },
  },
  upstream_state: {
    help: 'Addresses of a server by what is known about reaching them over TLS.',
    labels: { upstream: OPEN, state: ADDRESS_STATES },
  },
  upstream_key_exchange: {
    help: 'Addresses of a server by the group of the key exchange of their last TLS connection. Those that end with MLKEM768 or MLKEM1024 are post-quantum.',
    labels: { upstream: OPEN, group: TLS_GROUPS },
  },
  upstream_transport: {
    help: 'Addresses of a server by what a query would be sent over now. https: port 853 cannot be reached.',
    labels: { upstream: OPEN, transport: UPSTREAM_TRANSPORTS },
  },
  upstream_idle_limit_seconds: {
    help: 'How long connections to a server may be idle, as learned from it.',
    labels: { upstream: OPEN },
  },
  upstream_cert_expiry_timestamp_seconds: {
    help: 'When the certificate that a server showed expires.',
    labels: { upstream: OPEN },
  },
  upstream_dnssec: {
    help: 'Whether a server passes DNSSEC signatures on; 1 for what was found.',
    labels: { upstream: OPEN, state: DNSSEC_STATES },
  },
  upstream_mode: { help: 'The mode in force; 1 for that one.', labels: { mode: MODES } },
  trust_anchor_state: {
    help: 'Keys of trust points; 1 for the state that each is in (RFC 5011).',
    labels: { key_tag: OPEN, state: ANCHOR_STATES },
  },
  findings: {
    help: 'What is wrong or to be known; 1 for each of them that is so. "dotstub status" says it in words.',
    labels: { finding: FINDINGS },
  },
  config_last_reload_successful: {
    help: '1 where the configuration file was taken over when it was last read.',
    labels: {},
  },
  config_last_reload_timestamp_seconds: { help: 'When a configuration was last taken over.', labels: {} },
  clock_synchronized: { help: '0 where the system says that nobody keeps its clock right.', labels: {} },
} as const satisfies Record<string, MetricRow>;

/** All label sets of a row: every combination of the listed values; none if a label is open. */
export function labelSets({ labels, never = () => false }: MetricRow): Labels[] {
  return Object.entries(labels)
    .reduce<Labels[]>(
      (sets, [label, values]) => sets.flatMap(set => values.map(value => ({ ...set, [label]: value }))),
      [{}],
    )
    .filter(set => !never(set));
}
