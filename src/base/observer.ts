// What is counted, and the words that it is counted under. Parts tell an Observer of events; what is the case at a moment
// (gauges, states) is not told but read, from the overview (base/overview).

import type { FailureCode } from './outcome.js';

/** How a client's query reached us. */
export type Transport = 'udp' | 'tcp' | 'tls';
/** How a query leaves us. */
export type UpstreamProtocol = 'dot' | 'udp' | 'tcp';
/** Where an answer came from. */
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
  /** Opportunistic mode has found out whether a server can be used over TLS. */
  probe(result: 'ok' | 'failed'): void;
  /** The server is asked no more. Its series go with the last server of that label. */
  end(): void;
}

/** What is counted. `observe/metrics` makes Prometheus series of it; tests record it. */
export interface Observer {
  query(transport: Transport, family: 4 | 6, type: number, bytes: number): void;
  response(rcode: number, source: Source, seconds: number, bytes: number): void;
  /** A datagram or frame that got no answer at all. */
  dropped(reason: 'short' | 'response' | 'source_port' | 'connections' | 'slow_client' | 'overload'): void;
  /** An error reply; `words` say what happened, with the names of servers and zones. */
  failure(code: FailureCode, words: string): void;
  ede(infoCode: number): void;
  cache(event: 'hit_positive' | 'hit_negative' | 'miss' | 'eviction'): void;
  coalesced(): void;
  /** Begins to count for a server; `label` is for people, and two servers may share one. */
  server(label: string): ServerObserver;
  /** What is known about reaching one of a server's addresses has changed. */
  upstreamTransition(from: UpstreamState, to: UpstreamState): void;
  replay(): void;
  hedge(): void;
  cleartext(reason: CleartextReason): void;
  /** An answer was validated, or tried to be, so long after its question had come. */
  validation(result: 'secure' | 'insecure' | 'bogus' | 'indeterminate', seconds: number): void;
  /** A DS or DNSKEY RRset was asked for. */
  dnssecLookup(): void;
  /** A bogus answer was asked for again, at another server. */
  dnssecRetry(): void;
  dnssecLimit(limit: DnssecLimit): void;
}

/** A query that got a reply, for the query log. What it borrows is good until whoever is told returns. */
export interface NotedQuery {
  readonly client: { readonly address: string; readonly port: number; readonly transport: Transport };
  /** The messages. */
  readonly query: Buffer;
  readonly reply: Buffer;
  /** QNAME, QTYPE and QCLASS; undefined where they could not be read. */
  readonly question: Buffer | undefined;
  readonly rcode: number;
  readonly source: Source;
  /** Of an answer from a server or the cache. */
  readonly upstream: string | undefined;
  readonly verdict: string | undefined;
  /** Of an error. */
  readonly failure: FailureCode | undefined;
  readonly seconds: number;
}

/** What validation may run out of; the label of `dotstub_dnssec_limit_hits_total`. */
export type DnssecLimit = 'signatures' | 'lookups' | 'nsec3_hashes' | 'dnskeys' | 'key_tags' | 'ds' | 'aliases';

/** What is known about reaching an address over TLS. */
export type UpstreamState = 'probing' | 'private' | 'suspect' | 'failed';

/** Label values of `dotstub_upstream_errors_total`. */
export type UpstreamError = FailureCode | 'id_mismatch' | 'question_mismatch';
/** Label values of `dotstub_upstream_connection_closes_total`. */
export type ClosedBy = 'server' | 'client_idle' | 'error' | 'drain' | 'silent';
