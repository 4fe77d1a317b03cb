// What protocol code may not reach for by itself: time, chance, sockets and reporting. Each arrives as an
// argument, so that a test can hold the clock, choose the dice, and play the network.

import type { FailureCode } from './outcome.js';

/** Stops a pending timer; calling it late or twice does nothing. */
export type Cancel = () => void;

/** Time. Two clocks, because they answer different questions. */
export interface Clock {
  /** Milliseconds since an arbitrary start, never backwards: for timeouts. Stands still while the machine sleeps. */
  monotonicMs(): number;
  /** Milliseconds since 1970: for certificates and signatures, and to notice sleep. May jump. */
  wallMs(): number;
  /** Calls `then` once after `ms`; does not keep the process alive. */
  after(ms: number, then: () => void): Cancel;
}

/** Chance, good enough for message ids (RFC 5452 §9.2). */
export interface Random {
  /** 0 … 65535 */
  uint16(): number;
  /** 0 … n-1 */
  below(n: number): number;
}

/** One event that an operator may want to read. Fields are flat; names end up as JSON keys. */
export interface Log {
  debug(fields: LogFields, words: string): void;
  info(fields: LogFields, words: string): void;
  warn(fields: LogFields, words: string): void;
  error(fields: LogFields, words: string): void;
}
export type LogFields = Readonly<Record<string, string | number | boolean | undefined>>;

/** How a client's query reached us. */
export type Transport = 'udp' | 'tcp' | 'tls';
/** How a query leaves us. */
export type UpstreamProtocol = 'dot' | 'udp' | 'tcp';
/** Where an answer came from. */
export type Source = 'cache' | 'upstream' | 'local' | 'error';
/** Why a query left in cleartext; the label of `dotstub_cleartext_queries_total`. */
export type CleartextReason = 'bootstrap' | 'opportunistic' | 'off' | 'portal' | 'conditional' | 'probe';

/** What is counted. `observe/metrics` makes Prometheus series of it; tests record it. */
export interface Observer {
  query(transport: Transport, family: 4 | 6, type: number, bytes: number): void;
  response(rcode: number, source: Source, seconds: number, bytes: number): void;
  /** A datagram or frame that got no answer at all. */
  dropped(reason: 'short' | 'response' | 'source_port' | 'connections' | 'slow_client' | 'overload'): void;
  /** An error reply; `words` say what happened, with the names of servers and zones. */
  failure(code: FailureCode, words: string): void;
  ede(infoCode: number): void;
  inflight(delta: 1 | -1): void;
  clientConnections(transport: Transport, delta: 1 | -1): void;
  cache(event: 'hit_positive' | 'hit_negative' | 'miss' | 'eviction'): void;
  coalesced(): void;
  upstreamQuery(upstream: string, protocol: UpstreamProtocol): void;
  upstreamResponse(upstream: string, rcode: number, seconds: number): void;
  upstreamError(upstream: string, code: UpstreamError): void;
  /** @param certificateEndsMs when the certificate that the server showed expires, milliseconds since 1970; undefined: not known */
  upstreamConnect(
    upstream: string,
    resumed: boolean,
    handshakeSeconds: number,
    certificateEndsMs: number | undefined,
  ): void;
  upstreamConnections(upstream: string, delta: 1 | -1): void;
  upstreamClose(upstream: string, by: ClosedBy): void;
  upstreamState(upstream: string, up: boolean, authenticated: boolean): void;
  /** What is known about reaching one of a server's addresses has changed. */
  upstreamTransition(from: UpstreamState, to: UpstreamState): void;
  /** Opportunistic mode has found out whether a server can be used over TLS. */
  probe(upstream: string, result: 'ok' | 'failed'): void;
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
  /** Whether a server passes signatures on. */
  upstreamDnssec(upstream: string, found: 'ok' | 'strips'): void;
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

/** Where and how to open a connection. */
export interface DialTarget {
  readonly address: string;
  readonly port: number;
  readonly security: Security;
}

/** What protects a stream: nothing, encryption alone, or encryption with a proven peer (RFC 8310 §5). */
export type Security =
  | { readonly at: 'cleartext' }
  /** `name`, where there is one, is sent as SNI, and whether it is proved is found out and told. */
  | { readonly at: 'encrypted'; readonly name: string | undefined }
  | {
      readonly at: 'authenticated';
      /** The authentication domain name (RFC 8310 §2), or undefined: the certificate must hold the IP address. */
      readonly name: string | undefined;
      /** SHA-256 of acceptable SubjectPublicKeyInfos, base64; empty: no pinning. */
      readonly pins: readonly string[];
      readonly pinPolicy: PinPolicy;
      /** Of a designated resolver (RFC 9462 §4.2): the address that the certificate must hold, and the name for SNI. */
      readonly designatedBy?: { readonly address: string; readonly name: string };
    };

/**
 * What pins are worth beside the certificate authorities (PKIX): both must agree, either will do, pins alone count, or
 * the authorities decide and a mismatch is reported.
 */
export type PinPolicy = 'pin_and_pkix' | 'pin_or_pkix' | 'pin_only' | 'report_only';

/** What was found out about the peer while connecting. */
export interface Connected {
  readonly authenticated: boolean;
  readonly resumed: boolean;
  /** E.g. `TLSv1.3`; absent in cleartext. */
  readonly protocol?: string;
  /** When the server's certificate expires, milliseconds since 1970. */
  readonly certificateEndsMs?: number;
  /** What an operator should look at, though the connection may be used: pins that are only reported. */
  readonly warning?: string;
}

/** What a stream tells its owner. After `closed` nothing more is called. */
export interface StreamEvents {
  connected(info: Connected): void;
  /** What came; the memory is used again as soon as this returns. */
  bytes(chunk: Buffer): void;
  /** `undefined`: the peer closed in good order; else why it broke, or never came to be. */
  closed(why: { readonly code: FailureCode; readonly detail: string } | undefined): void;
}

/** An open (or opening) stream. */
export interface Stream {
  /** Queues bytes; all that is queued within a turn of the event loop leaves in one write. */
  send(bytes: Buffer): void;
  /** Has what came acknowledged at once, where the kernel can be told: the peer may hold back more until then (Nagle). */
  acknowledge(): void;
  /** Closes in good order: what was queued still leaves. May be called twice. */
  close(): void;
  /** Cuts. May be called twice. */
  destroy(): void;
}

/** Opens streams; no event comes before it has returned. `upstream/dial` does it with sockets. */
export type Dial = (target: DialTarget, events: StreamEvents) => Stream;

/** One question and answer over UDP in cleartext. Resolves to the reply, or to why there was none. */
export type DialDatagram = (
  target: { readonly address: string; readonly port: number },
  query: Buffer,
  accept: (reply: Buffer) => boolean,
  timeoutMs: number,
) => Promise<Buffer | 'timeout' | 'unreachable'>;
