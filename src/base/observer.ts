// Events that parts report for counting, and the label values that they are counted under. States and gauges are not reported:
// they are read from the overview (base/overview).

import type { FailureCode } from './outcome.js';

/** How a client's query arrived. */
export type Transport = 'udp' | 'tcp' | 'tls' | 'https';
/** How a query to a server leaves. */
export type UpstreamProtocol = 'dot' | 'https' | 'udp' | 'tcp';
/** Whether queries over a protocol are encrypted. */
export const isEncrypted = (protocol: UpstreamProtocol): boolean => protocol === 'dot' || protocol === 'https';
/** Where the answer to a client came from. */
export type Source = 'cache' | 'upstream' | 'local' | 'error';
/** Why a query left in cleartext; the label of `dotstub_cleartext_queries_total`. */
export type CleartextReason = 'bootstrap' | 'opportunistic' | 'off' | 'portal' | 'conditional' | 'probe';

/** Counts what happens with one server. Its series exist from the first call of `Observer.server` to `end`. */
export interface ServerObserver {
  query(protocol: UpstreamProtocol): void;
  response(rcode: number, seconds: number): void;
  error(code: UpstreamError): void;
  connect(resumed: boolean, handshakeSeconds: number): void;
  close(by: ClosedBy): void;
  /** In opportunistic mode, a probe has found out whether the server can be used over TLS. */
  probe(result: 'ok' | 'failed'): void;
  /** The server is not used any more. Its series end with the last server of the same label. */
  end(): void;
}

/** Why a message or a connection gets no response; label values of `dotstub_dropped_total`. */
export type Dropped =
  | 'short'
  | 'response'
  | 'source_port'
  /** There are too many connections. */
  | 'connections'
  /** An idle connection made room for a new one. */
  | 'displaced'
  /** A connection from an address that is not in `access.allow`, or one of too many queries from such addresses. */
  | 'not_allowed'
  /** A connection from a network of `access.proxy_protocol` that does not begin with a PROXY header. */
  | 'proxy_header'
  /** A query over `access.rate_limit`. */
  | 'rate_limited'
  | 'slow_client'
  /** An HTTP connection: more requests at once, or more frames beside answered requests, than one may have. */
  | 'http_flood'
  | 'overload'
  /** A reply, because the socket that it leaves through is full. */
  | 'socket_full'
  /** A rule of a list leaves the query without a reply. */
  | 'list';

/** What happens with the cache. */
export type CacheEvent =
  | 'hit_positive'
  | 'hit_negative'
  | 'hit_stale'
  | 'hit_aggressive'
  | 'hit_shared'
  | 'miss'
  | 'eviction'
  | 'prefetch_answered'
  | 'prefetch_failed';

/** What became of a query over `access.rate_limit`. */
export type RateLimited = 'dropped' | 'truncated' | 'refused';

/** Counts events. `observe/metrics` makes Prometheus series of them; tests record them. */
export interface Observer {
  query(transport: Transport, family: 4 | 6, type: number, bytes: number): void;
  response(rcode: number, source: Source, seconds: number, bytes: number): void;
  /** A datagram, a frame or a connection that gets no response. */
  dropped(reason: Dropped): void;
  /** A query over `access.rate_limit`. */
  rateLimited(action: RateLimited): void;
  /** A query over UDP without a cookie, from a network of `access.require_cookie`. */
  unproven(): void;
  /** A response that reports a failure. `words` say what happened, with the names of servers and zones. */
  failure(code: FailureCode, words: string): void;
  ede(infoCode: number): void;
  /**
   * `hit_aggressive`: an answer from denials of other names. `hit_shared`: one that another replica has stored.
   * `prefetch_…`: an answer was refreshed before it expired, or could not be.
   */
  cache(event: CacheEvent): void;
  /** The store that replicas share was asked for an answer, or would have been. */
  sharedRead(result: SharedRead): void;
  /** An answer was given to it, or would have been. */
  sharedWrite(result: SharedWrite): void;
  /** A client got an answer of a list. */
  listed(list: string, action: string): void;
  /** These lists are in force, and no others. */
  lists(names: readonly string[]): void;
  coalesced(): void;
  /** Private addresses were left out of an answer about a public name. */
  screened(): void;
  /** Addresses were put into a set of the firewall, or could not be. */
  firewallSet(result: 'added' | 'failed', elements: number): void;
  /** A reply has left before its addresses were in their sets. */
  firewallSetLate(): void;
  /** Begins to count for a server. `label` is for people and metrics; two servers may share one. */
  server(label: string): ServerObserver;
  /** The state of one address of a server has changed. */
  upstreamTransition(from: UpstreamState, to: UpstreamState): void;
  replay(): void;
  hedge(): void;
  cleartext(reason: CleartextReason): void;
  /** Validation of an answer has ended, `seconds` after its query arrived. */
  validation(result: 'secure' | 'insecure' | 'bogus' | 'indeterminate', seconds: number): void;
  /** Validation has sent a query for a DS or DNSKEY RRset. */
  dnssecLookup(): void;
  /** A query with a bogus answer was sent again, to another server. */
  dnssecRetry(): void;
  dnssecLimit(limit: DnssecLimit): void;
}

/** Why a connection of a client is closed, or a message over one gets no response. */
export const STREAM_DROPS = [
  ...(['short', 'response', 'connections', 'displaced'] as const),
  ...(['not_allowed', 'slow_client', 'http_flood', 'proxy_header'] as const),
] as const satisfies readonly Dropped[];
export type StreamDrop = (typeof STREAM_DROPS)[number];

/** Counts what happens to connections of clients. */
export interface StreamObserver {
  dropped(reason: StreamDrop): void;
}

/** A query and its reply, for the query log. The buffers are valid only during the call that passes this object. */
export interface NotedQuery {
  readonly client: { readonly address: string; readonly port: number; readonly transport: Transport };
  /** The message of the client. */
  readonly query: Buffer;
  /** The message to the client. */
  readonly reply: Buffer;
  /** QNAME, QTYPE and QCLASS; undefined if the query is malformed. */
  readonly question: Buffer | undefined;
  readonly rcode: number;
  readonly source: Source;
  /** The label of the server that the answer came from, also if it was cached; undefined if it came from no server. */
  readonly upstream: string | undefined;
  readonly verdict: string | undefined;
  /** Undefined: the reply does not report a failure. */
  readonly failure: FailureCode | undefined;
  readonly seconds: number;
}

/** The limits of validation; label values of `dotstub_dnssec_limit_hits_total`. */
export type DnssecLimit = 'signatures' | 'lookups' | 'nsec3_hashes' | 'dnskeys' | 'key_tags' | 'ds';

/**
 * What became of a question to the shared store. `unusable`: what it has is not authentic, or has expired. `skipped`: it
 * was not asked, because it is off or has too much to do.
 */
export type SharedRead = 'hit' | 'miss' | 'unusable' | 'timeout' | 'refused' | 'skipped';
/** What became of an answer for the shared store. `skipped`: as above. */
export type SharedWrite = 'stored' | 'refused' | 'skipped';

/** The state of an address of a server over TLS. */
export type UpstreamState = 'probing' | 'private' | 'suspect' | 'failed';

/** Label values of `dotstub_upstream_errors_total`. */
export type UpstreamError = FailureCode | 'id_mismatch' | 'question_mismatch' | 'case_mismatch';

/** Label values of `dotstub_upstream_connection_closes_total`. */
export type ClosedBy = 'server' | 'client_idle' | 'error' | 'drain' | 'silent';
